"""What is searched while a writer replaces it, in the same process."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ragwright.programs.candidates import Candidates
from ragwright.programs.hybrid import HybridRetriever
from ragwright.retrievers.dense import ChromaRetriever
from ragwright.retrievers.embedding import EncodedTexts, HashEmbedder
from ragwright.retrievers.index import Index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.stores.base import StoreURL
from ragwright.retrievers.stores.chroma import ChromaStore
from ragwright.retrievers.types import Document

HASHED = IndexSettings(embedder="hash")


class OvertakenDense(ChromaRetriever):
    """An ingest ends between its first search and the reading of what that found."""

    asked = 0

    def hits(self, query: str, n: int, where: Any = None) -> dict[str, float]:
        found = super().hits(query, n, where)
        overtake(self)
        return found


class OvertakenHybrid(HybridRetriever):
    """The same, of a stage."""

    asked = 0

    def gather(self, query: str, **others: Any) -> Candidates:
        found = super().gather(query, **others)
        overtake(self)
        return found


def overtake(retriever: OvertakenDense | OvertakenHybrid) -> None:
    retriever.asked += 1
    if retriever.asked == 1:
        ingest([Document("leave", "Everybody has 31 days.")], retriever.path, HASHED)


@pytest.mark.parametrize("kind", [OvertakenDense, OvertakenHybrid])
@pytest.mark.parametrize("awaited", [False, True])
def test_what_an_ingest_replaced_is_searched_again(
    path: Path, kind: type[OvertakenDense | OvertakenHybrid], awaited: bool
) -> None:
    ingest([Document("leave", "Everybody has 30 days.")], path, HASHED)
    ChromaRetriever(str(path))("days")
    retriever = kind(str(path))
    found = asyncio.run(retriever.acall("days")) if awaited else retriever("days")
    assert list(found) == ["Everybody has 31 days."]
    assert retriever.asked == 2


def test_a_search_that_finds_little_is_made_once(path: Path) -> None:
    ingest([Document("leave", "Everybody has 30 days.")], path, HASHED)
    retriever = OvertakenDense(str(path))
    retriever.asked = 1
    assert len(retriever("days")) == 1
    assert len(retriever("days")) == 1
    assert retriever.asked == 3


def test_threads_open_and_close_one_folder_of_chroma(tmp_path: Path) -> None:
    place = StoreURL.parse(f"chroma:{tmp_path}")
    ChromaStore(place, create=True).close()

    def open_and_close(_: int) -> int:
        store = ChromaStore(place)
        try:
            return len(list(store.ids()))
        finally:
            store.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(open_and_close, range(24))) == [0] * 24


def test_a_question_that_was_embedded_for_another_index_is_embedded_again(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = HASHED.model_copy(update={"embedder": "hash:32"})
    ingest([Document("leave", "Everybody has 30 days.")], path, HASHED)
    ingest([Document("leave", "Everybody has 31 days.")], tmp_path / "other", small)
    embed = HashEmbedder.encode

    def exchanged_meanwhile(self: HashEmbedder, *given: Any, **named: Any) -> EncodedTexts:
        if (tmp_path / "other").exists():
            path.rename(tmp_path / "before")
            (tmp_path / "other").rename(path)
            assert index.count == 1
        return embed(self, *given, **named)

    with closing(Index(path)) as index:
        monkeypatch.setattr(HashEmbedder, "encode", exchanged_meanwhile)
        assert index.vector_of("days").shape == (64,)
        assert index.vector_of("days").shape == (32,)
        assert len(index.dense("days", 3)) == 1
