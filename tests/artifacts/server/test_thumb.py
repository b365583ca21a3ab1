"""From a thumb to an artifact that knows its question: serve, rate, export, compile, serve."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragwright.artifacts import load, save
from ragwright.artifacts.cli import app
from ragwright.artifacts.learned import sources_of
from ragwright.programs.build import build_program, index_settings
from ragwright.programs.learned import KnownQuestions
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.index import close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from tests.artifacts.server.conftest import Serve

NICKNAMES = ("amber wolf of Bram", "brass lark of Cole", "coral moth of Dunn", "dusky hare of Esk",
             "early crow of Fenn", "frost newt of Gale", "green toad of Hull", "happy mole of Ives",
             "ivory wren of Jura", "jolly seal of Kent")  # fmt: skip
OPENERS = ("When did the", "Since when did the", "Tell me when the", "What year saw the",
           "How early did the", "On what date did the")  # fmt: skip
SIDES = ("train", "train", "dev", "dev", "test", "test")
ASKED = "Which year was Machine 33 started, known by some as Old Thunderer?"
LATER = "Old Thunderer, known by some: which year was it started?"
RECIPE = """
name = "machines"

[program]
kind = "hybrid"

[index]
path = "{folder}/index"
embedder = "hash"

[data]
trainset = "{folder}/all.jsonl"
split = "question"

[compile]
learn = ["questions"]
optimizer = "none"
retrieval_trials = 8
shortlist = 1
threads = 2
"""


def of_ones_own() -> list[dict[str, str]]:
    """Questions of one's own, by nicknames that no document has; two of six on each side."""
    return [
        {"id": f"{n}-{place}", "question": f"{opener} {nickname} start?", "split": SIDES[place],
         "answer": str(1900 + 3 * n), "document": f"m{n}"}
        for n, nickname in enumerate(NICKNAMES)
        for place, opener in enumerate(OPENERS)
    ]  # fmt: skip


@pytest.fixture
def recipe(tmp_path: Path) -> Iterator[Recipe]:
    """Machines, which their documents call by number."""
    (tmp_path / "recipe.toml").write_text(RECIPE.format(folder=tmp_path), encoding="utf-8")
    made = Recipe.from_toml(tmp_path / "recipe.toml")
    documents = [
        Document(f"m{n}", f"Machine {n}{n} was started in {1900 + 3 * n}. It stands in hall {n}.")
        for n in range(len(NICKNAMES))
    ]
    ingest(documents, made.index.path, index_settings(made))
    yield made
    close_index(made.index.path)


@pytest.fixture
def home(tmp_path: Path, recipe: Recipe) -> Path:
    """The program as it is before anything is learned."""
    save(build_program(recipe), tmp_path / "artifact", recipe=recipe)
    return tmp_path / "artifact"


def run(*command: str) -> str:
    ran = CliRunner().invoke(app, list(command))
    assert ran.exit_code == 0, ran.output
    return ran.stdout


@pytest.mark.slow
def test_a_thumb_is_a_known_question_of_the_next_artifact(
    serve: Serve, home: Path, tmp_path: Path
) -> None:
    with serve() as server:
        before = server.ask(LATER).json()["passages"][0]["document"]
        answer = server.ask(ASKED).json()
        assert answer["answer"] == "1909"
        body = {"answer_id": answer["id"], "rating": "up"}
        assert server.client.post("/v1/feedback", json=body).status_code == 201
    store, exported = str(tmp_path / "feedback.sqlite"), tmp_path / "more.jsonl"
    run("feedback", "export", str(exported), "--store", store, "--split", "train")
    own = "".join(f"{json.dumps(row)}\n" for row in of_ones_own())
    everything = own + exported.read_text(encoding="utf-8")
    (tmp_path / "all.jsonl").write_text(everything, encoding="utf-8")

    told = run("compile", str(tmp_path / "recipe.toml"), "--output", str(home), "--json")
    assert json.loads(told)["chosen"] != "baseline"
    ((part,),) = sources_of(load(home)).values()
    assert isinstance(part, KnownQuestions)
    assert ASKED in part.questions
    number = part.holds[part.questions.index(ASKED)]
    assert {part.chunks[one][1].document for one in number} == {"m3"}
    with serve() as server:
        after = server.ask(LATER).json()["passages"][0]["document"]
    assert (before != "m3", after) == (True, "m3")
