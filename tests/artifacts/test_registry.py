"""The artifact in MLflow: found in its run, loaded elsewhere without any pickle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dspy
import mlflow
import pytest
from mlflow import MlflowClient

from ragwright.artifacts import load, log_artifact, promote, publish_model
from ragwright.artifacts.model_prompts import register_prompts
from ragwright.programs.build import build_program
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.mlflow_database import make_database

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

QUESTION = "What is the capital of Peru?"
PREDICT = """
import gc, json, sys, dspy, mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2], model_config=json.loads(sys.argv[4]))
answers = model.predict([{"question": sys.argv[3]}, {"question": "Japan?"}])
gc.collect()
assert not [one for one in gc.get_objects() if isinstance(one, dspy.Prediction)], "calls are kept"
print(json.dumps([answer.model_dump() for answer in answers]))
"""


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def run_id(tmp_path: Path, uri: str) -> str:
    make_database(uri)
    client = MlflowClient(tracking_uri=uri)
    place = (tmp_path / "mlartifacts").as_uri()
    return client.create_run(client.create_experiment("e", artifact_location=place)).info.run_id


def _predict(uri: str, model: str, elsewhere: Path, **config: str) -> list[dict]:
    """Load the model in a process that has no ragwright on its path, and no pickle allowed."""
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, uri, model, QUESTION, json.dumps(config)],
        env={
            **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        },
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_model_answers_in_a_new_process_without_pickle(
    home: Path, tmp_path: Path, uri: str, run_id: str
) -> None:
    before = mlflow.get_tracking_uri()
    model = log_artifact(home, tracking_uri=uri, run_id=run_id)
    assert mlflow.get_tracking_uri() == before
    first, second = _predict(uri, model, tmp_path / "elsewhere")
    here = load(home)(question=QUESTION)
    assert first == {
        "answer": here.answer,
        "citations": here.citations,
        "context": here.context,
        "documents": [passage.document for passage in here.passages],
        "outputs": "{}",
    }
    assert "Tokyo" in str(second["context"])


def test_the_run_holds_the_artifact_and_no_pickle(
    home: Path, tmp_path: Path, uri: str, run_id: str
) -> None:
    log_artifact(home, tracking_uri=uri, run_id=run_id)
    client = MlflowClient(tracking_uri=uri)
    names = {item.path for item in client.list_artifacts(run_id, "artifact")}
    assert names == {
        f"artifact/{name}" for name in ("manifest.json", "recipe.json", "state.json", "prompts")
    }
    assert len(client.get_run(run_id).outputs.model_outputs) == 1
    stored = [file for file in (tmp_path / "mlartifacts").rglob("*") if file.is_file()]
    assert not [file for file in stored if file.suffix in (".pkl", ".pickle", ".pyc")]
    assert not [file for file in stored if "compiled" in file.parts]


def test_the_index_may_have_moved(home: Path, tmp_path: Path, uri: str, run_id: str) -> None:
    model = log_artifact(home, tracking_uri=uri, run_id=run_id)
    (tmp_path / "index").rename(tmp_path / "moved")
    first, _ = _predict(uri, model, tmp_path / "elsewhere", index=str(tmp_path / "moved"))
    assert "Lima" in first["answer"]


def test_prompts_are_versioned_once_and_follow_the_aliases(
    home: Path, program: dspy.Module, recipe: Recipe, uri: str, run_id: str
) -> None:
    client = MlflowClient(uri)
    written = build_program(recipe)
    for _ in range(2):
        (kept,) = register_prompts(client, program, name="capitals", run_id=run_id, before=written)
    assert (kept.name, kept.version) == ("capitals.respond", 2)
    texts = [client.get_prompt_version("capitals.respond", n).template for n in (1, 2)]
    assert "Name the city." in texts[1][0]["content"]
    assert "Name the city." not in texts[0][0]["content"]
    assert "{{question}}" in texts[1][-1]["content"]
    assert [message["role"] for message in texts[1]] == ["system", "user", "assistant", "user"]
    assert client.get_prompt_version_by_alias("capitals.respond", "candidate").version == 2
    assert client.get_prompt("capitals.respond").tags["_mlflow_experiment_ids"] == ",1,"
    log_artifact(home, tracking_uri=uri, run_id=run_id)
    promote(home)
    publish_model(home, tracking_uri=uri)
    assert client.get_prompt_version_by_alias("capitals.respond", "champion").version == 2


def test_a_model_has_a_page_a_signature_and_an_example(home: Path, uri: str, run_id: str) -> None:
    address = log_artifact(home, tracking_uri=uri, run_id=run_id)
    client = MlflowClient(uri)
    model = client.get_logged_model(address.removeprefix("models:/"))
    page = model.tags["mlflow.note.content"]
    assert "mlflow.pyfunc.load_model" in page
    found = mlflow.models.Model.load(model.artifact_location.removeprefix("file://"))
    assert "question" in str(found.signature.inputs)
    assert found.load_input_example() == [{"question": "What is this about?"}]
    publish_model(home, tracking_uri=uri)
    assert client.get_registered_model("capitals").description == page
