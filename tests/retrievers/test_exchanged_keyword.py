"""A keyword index that somebody exchanges, damages or puts back while it is open.

tantivy takes whatever files lie there by itself, within half a second: before, another index in
their place gave no hits, and nobody was told.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ragwright.retrievers import read_parts
from ragwright.retrievers.errors import DamagedStore
from ragwright.retrievers.index import Index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.lock import writer_lock
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.types import Document
from ragwright.retrievers.upkeep import repair, verify

SETTINGS = IndexSettings(embedder="hash")
QUESTION = "the apple number 7"


def documents(word: str, count: int = 60) -> list[Document]:
    return [Document(f"{word}{n}", f"The {word} number {n}.") for n in range(count)]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    ingest(documents("apple"), tmp_path / "index", SETTINGS)
    ingest(documents("pear"), tmp_path / "other", SETTINGS)
    ingest(documents("apple", 20), tmp_path / "former", SETTINGS)
    return tmp_path / "index"


@pytest.fixture
def reader(index: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.setattr(read_parts, "LOOK_SECONDS", 0.0)
    with closing(Index(index)) as opened:
        assert len(opened.keyword(QUESTION, 5)) == 5
        yield opened


def exchanged(index: Path, by: str) -> None:
    shutil.rmtree(index / "keyword")
    shutil.copytree(index.with_name(by) / "keyword", index / "keyword")


def other(index: Path) -> None:
    exchanged(index, "other")


def former(index: Path) -> None:
    """A copy of before the last documents came."""
    exchanged(index, "former")


def over(index: Path) -> None:
    for file in (index.with_name("other") / "keyword").iterdir():
        shutil.copy(file, index / "keyword")


def zeros(index: Path) -> None:
    for file in (index / "keyword").glob("*.idx"):
        with file.open("r+b") as stream:
            stream.write(bytes(64))


HARMS = [other, former, over, zeros]


@pytest.mark.parametrize("harm", HARMS)
def test_it_is_noticed_while_it_is_open(
    index: Path, reader: Index, harm: Callable[[Path], None]
) -> None:
    harm(index)
    for _ in range(2):
        with pytest.raises(DamagedStore, match="rag index repair"):
            reader.keyword(QUESTION, 5)
    assert reader.dense(QUESTION, 5)
    repair(index)
    assert len(reader.keyword(QUESTION, 5)) == 5
    assert verify(index).sound


@pytest.mark.parametrize("harm", HARMS)
def test_an_ingest_writes_it_anew(index: Path, harm: Callable[[Path], None]) -> None:
    harm(index)
    with closing(Index(index)) as opened, pytest.raises(DamagedStore):
        opened.keyword(QUESTION, 5)
    ingest(documents("apple"), index, SETTINGS)
    assert verify(index).sound
    with closing(Index(index)) as opened:
        assert len(opened.keyword(QUESTION, 5)) == 5


def test_what_is_put_back_answers_again(index: Path, reader: Index) -> None:
    shutil.copytree(index / "keyword", index / "kept")
    other(index)
    with pytest.raises(DamagedStore):
        reader.keyword(QUESTION, 5)
    shutil.rmtree(index / "keyword")
    (index / "kept").rename(index / "keyword")
    assert len(reader.keyword(QUESTION, 5)) == 5


def test_one_that_is_gone_is_still_open(index: Path, reader: Index) -> None:
    shutil.rmtree(index / "keyword")
    assert len(reader.keyword(QUESTION, 5)) == 5


def test_a_writers_files_are_no_damage(index: Path, reader: Index) -> None:
    for count in (80, 40, 90):
        ingest(documents("apple", count), index, SETTINGS)
        assert len(reader.keyword(QUESTION, 50)) == min(count, 50)
    with writer_lock(index):  # it may have taken out what the ledger still calls live
        former(index)
        assert reader.keyword(QUESTION, 5)


def test_times_alone_are_no_damage(index: Path, reader: Index) -> None:
    for file in (index / "keyword").iterdir():
        os.utime(file)
    assert len(reader.keyword(QUESTION, 5)) == 5
