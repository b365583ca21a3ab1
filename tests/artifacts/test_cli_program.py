"""`rag show --tree` and `rag prompt`, over a recipe and an artifact."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dspy
import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from ragwright.artifacts.cli import app, view
from ragwright.artifacts.cli.inputs import sent_inputs, written_inputs
from ragwright.artifacts.store import save
from ragwright.programs.build import build_program
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.index import IndexSettings, close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cli")
    facts = ["Paris is the capital of France.", "Rome is the capital of Italy."]
    documents = [Document(str(place), text) for place, text in enumerate(facts)]
    ingest(documents, folder / "index", IndexSettings(embedder="hash"))
    file = folder / "recipe.toml"
    file.write_text(
        '[index]\npath = "index"\nembedder = "hash"\n[program]\nkind = "multihop"\n[knobs]\nk = 2\n'
    )
    yield file
    close_index(folder / "index")


@pytest.fixture(scope="module")
def artifact(recipe: Path) -> Path:
    parsed = Recipe.from_toml(recipe)
    program = build_program(parsed)
    program.respond.demos = [
        dspy.Example(context=["[1] x"], question="Who?", answer="Ada", citations=[1])
    ]
    save(program, recipe.parent / "saved", recipe=parsed)
    return recipe.parent / "saved"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_tree_names_every_module_predictor_and_changed_knob(recipe: Path) -> None:
    text = run("show", recipe, "--tree")
    for name in (
        "MultiHopRAG",
        "MultiHopRetriever",
        "RerankRetriever",
        "MaxSim",
        "ChromaRetriever",
    ):
        assert name in text
    assert "hops=2" in text
    assert "k=2" in text
    assert "next_hop" in text
    tree = json.loads(run("show", recipe, "--tree", "--json"))
    assert [part["name"] for part in tree["parts"]] == ["knobs", "retriever", "respond"]
    assert text.count("Knobs") == 1  # shared by all stages


def test_the_prompt_is_what_is_sent(recipe: Path) -> None:
    text = run("prompt", recipe, QUESTION)
    assert "[1] Paris is the capital of France." in text
    assert QUESTION in text
    messages = json.loads(run("prompt", recipe, QUESTION, "--json"))[0]["messages"]
    assert [message["role"] for message in messages] == ["system", "user"]


def test_two_prompts_are_compared(recipe: Path, artifact: Path) -> None:
    text = run("prompt", recipe, QUESTION, "--against", artifact)
    added = [line for line in text.splitlines() if line.startswith("+")]
    assert "+Ada" in added
    assert not [line for line in text.splitlines() if line.startswith("-") and line[1:2] != "-"]
    assert run("prompt", recipe, QUESTION, "--against", recipe).strip() == (
        "The prompts are the same."
    )


def test_an_empty_question_is_refused(recipe: Path) -> None:
    result = CliRunner().invoke(app, ["prompt", str(recipe), " "])
    assert result.exit_code == 2
    assert "empty" in result.stderr


class Level(enum.Enum):
    HIGH = "high"


class Note(BaseModel):
    answer: str
    pages: list[int]


@pytest.mark.parametrize(
    ("returned", "answer", "outputs"),
    [
        (
            dspy.Prediction(answer="Paris", level=Level.HIGH, on=date(2024, 1, 2), notes="a"),
            "Paris",
            {"level": "high", "on": "2024-01-02"},
        ),
        (Note(answer="Paris", pages=[1, 2]), "Paris", {"pages": [1, 2]}),
        ((["context"], dspy.Prediction(answer="Paris")), "Paris", {}),
        ("Paris", "Paris", {}),
        (dspy.Prediction(score=7), "7", {"score": 7}),
        (dspy.Prediction(level="low", reply="Paris"), "low", {"level": "low", "reply": "Paris"}),
        (dspy.Prediction(pages=1, reply="Paris"), "Paris", {"pages": 1, "reply": "Paris"}),
        (dspy.Prediction(answer=Level.HIGH), "high", {}),
    ],
)
def test_an_answer_is_shown_with_all_that_a_program_gives(
    returned: Any, answer: str, outputs: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    view.show_answer("?", returned, True)
    told = json.loads(capsys.readouterr().out)
    assert (told["answer"], told.get("outputs", {})) == (answer, outputs)
    view.show_answer("?", returned, False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == answer
    shown = [value if isinstance(value, str) else json.dumps(value) for value in outputs.values()]
    named = zip(outputs, shown, strict=True)
    # The answer, whatever its field is called, is printed once.
    assert [f"{name}: {value}" for name, value in named if value != answer] == [
        one for one in lines[1:] if one[:5] != "notes"
    ]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("lang=de", {"lang": "de"}),
        ("tags=[1, 2]", {"tags": [1, 2]}),
        ("note=[sic]", {"note": "[sic]"}),
    ],
)
def test_inputs_are_sent_to_a_server_as_they_are_meant(written: str, sent: dict[str, Any]) -> None:
    assert sent_inputs(written_inputs([written])) == sent
