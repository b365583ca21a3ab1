"""A tiny real index, a recipe over it, and a program with something learned."""

from __future__ import annotations

import shutil
from pathlib import Path

import dspy
import pytest

from ragwright.artifacts.store import save
from ragwright.programs.build import build_program, index_settings
from ragwright.programs.knobs import KnobValues
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.index import close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Peru": "Lima",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
}


def documents(suffix: str = "") -> list[Document]:
    return [
        Document(land, f"The capital of {land} is {city}. It is a large city.{suffix}", title=land)
        for land, city in CAPITALS.items()
    ]


def recipe_of(index: Path) -> Recipe:
    """A recipe with the hash embedder, over an index that lies here."""
    return Recipe.checked(
        {
            "name": "capitals",
            "index": {"path": str(index), "embedder": "hash"},
            "knobs": {"k": 3, "weight_maxsim": 0.5},
        }
    )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the capitals, made once; tests take copies of it."""
    folder = tmp_path_factory.mktemp("capitals") / "index"
    ingest(documents(), folder, index_settings(recipe_of(folder)))
    close_index(folder)
    return folder


@pytest.fixture
def recipe(tmp_path: Path, built: Path) -> Recipe:
    """A recipe with the hash embedder, whose index is a test's own."""
    made = recipe_of(tmp_path / "index")
    shutil.copytree(built, made.index.path)
    return made


@pytest.fixture
def program(recipe: Recipe) -> dspy.Module:
    """A program whose knobs, instructions and demonstrations were changed."""
    learned = build_program(recipe)
    learned.knobs.values = KnobValues(k=2, weight_maxsim=0.25, context_tokens=300)
    learned.respond.signature = learned.respond.signature.with_instructions("Name the city.")
    learned.respond.demos = [
        dspy.Example(
            context=["[1] The capital of Chad is N'Djamena."],
            question="What is the capital of Chad?",
            answer="N'Djamena",
            citations=[1],
        )
    ]
    return learned


@pytest.fixture
def home(tmp_path: Path, program: dspy.Module, recipe: Recipe) -> Path:
    """A saved artifact."""
    save(program, tmp_path / "artifact", recipe=recipe)
    return tmp_path / "artifact"


@pytest.fixture(autouse=True)
def _close(tmp_path: Path) -> object:
    yield
    close_index(tmp_path / "index")
