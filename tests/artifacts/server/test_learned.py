"""Learned sources behind every door: command, server, MLflow's model; a thumb becomes one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from ragwright.artifacts import load, log_artifact, save
from ragwright.artifacts.cli import app
from ragwright.optimize.questions.data import read_questions
from ragwright.programs.build import build_program, index_settings
from ragwright.programs.candidates import Candidates
from ragwright.programs.knobs import KnobValues
from ragwright.programs.learned import (
    ChunkPlace,
    KnownQuestions,
    LabelledQuestion,
    QueryAdapter,
    Ranker,
)
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.index import close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.mlflow_database import make_database
from tests.artifacts.conftest import documents
from tests.artifacts.server.conftest import Running, Serve, until

NICKNAMES = {"garua": "Peru", "paella": "Spain", "safari": "Kenya"}
ASKED = "Tell me of the garua, please!"


def known(path: str) -> list[LabelledQuestion]:
    """Questions in words that no document has."""
    index = open_index(path)
    return [
        LabelledQuestion(f"Tell me of the {nickname}!",
              {one.id: ChunkPlace(land, one.start, one.end) for one in index.document(land)})
        for nickname, land in NICKNAMES.items()
    ]  # fmt: skip


def learned(recipe: Recipe, rows: list[LabelledQuestion], home: Path) -> Path:
    """Save an artifact that learned from some questions."""
    path, program = recipe.index.path, build_program(recipe)
    parts = KnownQuestions.learned(path, rows), QueryAdapter.learned(path, rows)
    program.knobs.learn(*parts)
    values = KnobValues(
        k=1, weight_dense=0.1, weight_bm25=0.1, weight_maxsim=0.1, weight_questions=0.6,
        weight_adapter=0.1, context_tokens=300,
    )  # fmt: skip
    found = Candidates.stack([program.retriever.gather(one.question) for one in rows])
    wanted = np.array([[id in one.chunks for id in ids]
                       for one, ids in zip(rows, found.ids, strict=True)])  # fmt: skip
    program.knobs.learn(*parts, Ranker.learned(found, wanted, values))
    program.knobs.values = Ranker.laid(values, {"share": 0.9})
    return save(program, home, recipe=recipe)


@pytest.fixture
def home(tmp_path: Path, recipe: Recipe) -> Iterator[Path]:
    learned(recipe, known(recipe.index.path), tmp_path / "artifact")
    yield tmp_path / "artifact"
    close_index(recipe.index.path)


def first(server: Running, question: str = ASKED) -> str:
    """The document that an answer rests on."""
    return str(server.ask(question).json()["passages"][0]["document"])


def test_asked_and_searched_from_the_command(home: Path) -> None:
    for command, asked, wanted in (
        ("search", ASKED, "Peru"), ("ask", "What is the capital of Peru?", "Lima")
    ):  # fmt: skip
        ran = CliRunner().invoke(app, [command, str(home), asked, "--json"])
        assert ran.exit_code == 0, ran.output
        assert wanted in ran.stdout


def test_served_through_a_new_version_and_a_new_index(
    serve: Serve, home: Path, recipe: Recipe
) -> None:
    with serve(cache_entries=0) as server:
        assert first(server) == "Peru"
        # Longer texts: every chunk has another id now, and is found where the old one stood.
        ingest(documents(" It has a river."), recipe.index.path, index_settings(recipe))
        assert first(server) == "Peru"
        learned(recipe, known(recipe.index.path)[1:], home)
        until(lambda: server.client.get("/readyz").json()["source"]["version"] == "2")
        assert first(server, "Tell me of the paella, please!") == "Spain"
        assert first(server, "What is the capital of Peru?") == "Peru"


def test_a_thumb_becomes_a_known_question(
    serve: Serve, home: Path, recipe: Recipe, tmp_path: Path
) -> None:
    with serve() as server:
        answer = server.ask("Which is the capital city of Japan?").json()
        body = {"answer_id": answer["id"], "rating": "up"}
        assert server.client.post("/v1/feedback", json=body).status_code == 201
    rows, store = tmp_path / "more.jsonl", str(tmp_path / "feedback.sqlite")
    ran = CliRunner().invoke(app, ["feedback", "export", str(rows), "--store", store])
    assert ran.exit_code == 0, ran.output
    (row,) = read_questions(rows).questions
    assert row.documents == ("Japan",)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_mlflows_model_has_them(home: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    make_database(uri)
    client = MlflowClient(tracking_uri=uri)
    place = (tmp_path / "mlartifacts").as_uri()
    run = client.create_run(client.create_experiment("e", artifact_location=place)).info.run_id
    model = log_artifact(home, tracking_uri=uri, run_id=run)
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    try:
        mlflow.set_tracking_uri(uri)
        (answer,) = mlflow.pyfunc.load_model(model).predict([{"question": ASKED}])
    finally:
        mlflow.set_tracking_uri(before)
    assert answer.documents == ["Peru"]
    assert answer.answer == load(home)(question=ASKED).answer
    stored = json.dumps([file.name for file in (tmp_path / "mlartifacts").rglob("*")])
    assert ".safetensors" in stored
    assert ".pkl" not in stored
