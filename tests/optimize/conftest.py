"""A small world to ask about: 48 made-up towns, four facts each, and an index over them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragwright.optimize import CompileResult, compile_program
from ragwright.optimize.questions import splitting
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.index import IndexSettings, close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

from .scripted import Writing

SYLLABLES = ("bar", "cor", "dun", "fel", "gra", "hol", "kin", "lor", "mer", "nol", "pel", "ros")
CHUNKING = {"kind": "recursive", "size": 24}


def name(number: int, ending: str) -> str:
    first, second = divmod(number, len(SYLLABLES))
    return (SYLLABLES[second] + SYLLABLES[(second + first + 3) % 12] + ending).capitalize()


def facts(number: int) -> dict[str, tuple[str, str]]:
    """What is asked about a town: question, and the sentence that holds the answer, last."""
    town = name(number, "ton")
    return {
        name(number, "ova"): (
            f"Which river runs through {town}?",
            f"In {town} people fish in a river by the name of {name(number, 'ova')}.",
        ),
        str(1200 + 7 * number): (
            f"When was {town} founded?",
            f"The charter of {town} as a free town was signed in {1200 + 7 * number}.",
        ),
    }


def documents() -> list[Document]:
    return [
        Document(
            id=f"town{number}",
            title=name(number, "ton"),
            text=" ".join(sentence for _, sentence in facts(number).values())
            + f" Nobody in {name(number, 'ton')} remembers when it last rained there.",
        )
        for number in range(48)
    ]


def lines() -> list[dict[str, Any]]:
    return [
        {"id": f"{number}-{place}", "question": question, "answer": answer,
         "document": f"town{number}", "evidence": sentence}
        for number in range(48)
        for place, (answer, (question, sentence)) in enumerate(facts(number).items())
    ]  # fmt: skip


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a compile test on fewer questions than could show anything; see `scripted.few`."""
    monkeypatch.setitem(splitting.MINIMUM, "test", 8)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with an index and a training set."""
    folder = tmp_path_factory.mktemp("world")
    settings = IndexSettings(embedder="hash", chunking=ChunkSettings.model_validate(CHUNKING))
    ingest(documents(), folder / "index", settings)
    text = "".join(json.dumps(line) + "\n" for line in lines())
    (folder / "questions.jsonl").write_text(text, encoding="utf-8")
    yield folder
    close_index(folder / "index")


def recipe(world: Path, **sections: dict[str, Any]) -> Recipe:
    """The recipe of the small world; `sections` add to its tables."""
    compile_section = {"retrieval_trials": 16, "threads": 2, "candidates": 1}
    return Recipe.checked(
        {
            "name": "towns",
            "index": {"path": str(world / "index"), "embedder": "hash", "chunking": CHUNKING},
            "data": {"trainset": str(world / "questions.jsonl"), "train": 0.3, "dev": 0.3},
            "compile": compile_section | sections.pop("compile", {}),
            **sections,
        }
    )


@pytest.fixture(scope="session")
def result(world: Path, tmp_path_factory: pytest.TempPathFactory) -> CompileResult:
    """The small world, compiled once."""
    return compile_program(recipe(world), run_dir=tmp_path_factory.mktemp("run"))


@pytest.fixture
def server() -> Iterator[Writing]:
    """A language model over HTTP that answers from the context and writes instructions."""
    with Writing() as running:
        yield running
