"""`rag` with RECIPE#NAME: several indexes of one corpus, and nothing embedded twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragwright.programs.recipe import Recipe
from ragwright.retrievers.chunking import chunk, parent_chunks
from ragwright.retrievers.documents import read_documents
from ragwright.retrievers.embedding import NO_PROMPT, EngineSettings, loading
from ragwright.retrievers.index import close_index
from tests.retrievers.test_cache import Counting
from tests.test_cli import rag

RECIPE = """
name = "lands"
[index]
path = "index"
documents = "documents.jsonl"
embedder = "EMBEDDER"
chunking.size = 40
[index.variants.small]
chunking.size = 12
[index.variants.families]
chunking = { size = 12, parent_size = 60 }
[data]
trainset = "questions.jsonl"
"""
LANDS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Peru": "Lima", "Japan": "Tokyo"}
TEXT = "The capital of {} is {}.\n\n{} has rivers. It has old streets.\n\nPeople like tea in {}."


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a recipe, documents and questions; the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("EMBEDDER", "hash"))
    _write("documents.jsonl", [
        {"_id": land, "text": TEXT.format(land, city, land, city)} for land, city in LANDS.items()
    ])  # fmt: skip
    _write("questions.jsonl", [
        {"question": f"What is the capital of {land}?", "answer": city, "document": land}
        for land, city in LANDS.items()
    ])  # fmt: skip
    yield tmp_path
    for index in ("index", "index-small", "index-families"):
        close_index(tmp_path / index)


def _write(file: str, records: list[dict[str, str]]) -> None:
    Path(file).write_text("".join(json.dumps(record) + "\n" for record in records))


def texts(source: str) -> set[str]:
    recipe = Recipe.from_toml(source)
    documents = read_documents(recipe.index.documents)
    return {piece.text for one in documents for piece in chunk(one, recipe.index.chunking)}


def test_a_variant_embeds_only_the_texts_that_are_new(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(place / "cache"))
    monkeypatch.setitem(loading._LOADED, ("counting", EngineSettings(), NO_PROMPT), Counting())
    (place / "recipe.toml").write_text(RECIPE.replace("EMBEDDER", "counting"))
    with (place / "documents.jsonl").open("a") as file:
        file.write('{"_id": "Nauru", "text": "Nauru has no capital."}\n')
    known: set[str] = set()
    embedded = []
    for source in ("recipe.toml", "recipe.toml#small", "recipe.toml#families", "recipe.toml#small"):
        done = rag("ingest", source, "--json").json
        new = texts(source) - known
        assert done["embedded"] == len(new)
        embedded.append(len(new))
        known |= new
    assert min(embedded[:2]) > 0
    assert embedded[1] == len(texts("recipe.toml#small")) - 1
    assert embedded[2:] == [0, 0]
    assert {folder.name for folder in place.glob("index*")} == {
        "index",
        "index-small",
        "index-families",
    }


def test_each_variant_answers_from_its_own_index(place: Path) -> None:
    question = "What is the capital of Peru?"
    for source in ("recipe.toml#small", "recipe.toml#families"):
        assert rag("ingest", source, "--json").json["added"] == len(LANDS)
    assert "no index" in rag("ask", "recipe.toml", question).err
    small, whole = (
        rag("ask", f"recipe.toml#{name}", question, "--json").json for name in ("small", "families")
    )
    assert "Lima" in small["answer"]
    assert "Lima" in whole["answer"]
    (peru,) = [one for one in read_documents("documents.jsonl") if one.id == "Peru"]
    (parent,) = parent_chunks(peru, Recipe.from_toml("recipe.toml#families").index.chunking)
    assert [cited["text"] for cited in whole["citations"]] == [parent.text] == [peru.text]
    assert all(len(cited["text"]) < len(peru.text) for cited in small["citations"])
    found = rag("search", "recipe.toml#families", question, "-k", "5", "--json").json["passages"]
    assert sorted(one["document"] for one in found) == sorted(LANDS)


def test_every_command_that_takes_a_recipe_takes_a_variant(place: Path) -> None:
    for source in ("recipe.toml", "recipe.toml#small"):
        rag("ingest", source)
    shown = rag("show", "recipe.toml#small", "--json").json["settings"]["index"]
    assert (shown["path"], shown["chunking"]["size"]) == (str(place / "index-small"), 12)
    against = rag("prompt", "recipe.toml", "capital of Peru?", "--against", "recipe.toml#small").out
    assert "+++ recipe.toml#small" in against
    done = rag("evaluate", "recipe.toml#small", "questions.jsonl", "--json").json
    assert done["n"] == len(LANDS)
    missing = rag("ask", "recipe.toml#tiny", "What?")
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    assert "it has 'small', 'families'" in missing.err
