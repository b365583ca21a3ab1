"""A small real collection and its index, made with the hash embedder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.index import IndexSettings, close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

SETTINGS = IndexSettings(embedder="hash", chunking=ChunkSettings(size=16))

LANDS = {
    "France": ("Paris", "Europe", 68),
    "Italy": ("Rome", "Europe", 59),
    "Spain": ("Madrid", "Europe", 48),
    "Peru": ("Lima", "America", 34),
    "Japan": ("Tokyo", "Asia", 124),
    "Kenya": ("Nairobi", "Africa", 55),
}


def land(name: str, *, more: str = "") -> Document:
    city, continent, millions = LANDS[name]
    text = f"The capital of {name} is {city}. It has many old streets and one river.{more}"
    return Document(name, text, name, {"continent": continent, "millions": millions})


def lands() -> list[Document]:
    return [land(name) for name in LANDS]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a test's index lies; closed afterwards."""
    yield tmp_path / "index"
    close_index(tmp_path / "index")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the six lands, made once; tests take copies of it."""
    folder = tmp_path_factory.mktemp("built") / "index"
    ingest(lands(), folder, SETTINGS)
    return folder


@pytest.fixture
def index_path(path: Path, built: Path) -> Path:
    """The index of the six lands, a test's own."""
    shutil.copytree(built, path)
    return path
