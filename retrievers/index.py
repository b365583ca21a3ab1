"""An index on disk, opened for reading: questions in, scored ids and passages out.

An index is a folder with a stamp (how it was made), a ledger (what it holds), a vector store, a
keyword index and token vectors. `ingest.py` writes it. Ids are those of what is returned: of
chunks, or of their parents if they have any. This module knows no program.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from retrievers.embedding import EmbedderIdentity, Encoded, Floats, load_embedder
from retrievers.errors import IdentityError, IndexFault
from retrievers.filters import Filter, parse
from retrievers.keyword import KeywordIndex
from retrievers.late import Span, TokenVectors
from retrievers.ledger import Ledger
from retrievers.returned import returned_by
from retrievers.stamp import IndexSettings, Stamp, check_note
from retrievers.stores.base import Row, Where
from retrievers.stores.opening import open_store
from retrievers.types import Chunk, Passage, content_hash

Search = Callable[[int], dict[str, float]]
"""A number in, the ids of up to so many chunks with their scores out, best first."""

__all__ = ["Index", "IndexSettings", "aopen_index", "close_index", "open_index"]


class Index:
    """An index, open for reading. Safe to use from several threads.

    It notices what another process writes, at the next call.

    Args:
        folder: The folder of the index.

    Raises:
        IndexFault: There is no index, or a part of it is missing or damaged.
        IdentityError: The embedder of that name is not the one the index was made with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stamp = Stamp.read(folder)
        self._embedder = load_embedder(self.settings.embedder, self.settings.engine)
        if self._embedder.identity != self.stamp.identity:
            raise IdentityError(
                f"The index {str(folder)!r} was made with {_shown(self.stamp.identity)}, "
                f"but {self.stamp.settings.embedder!r} is now {_shown(self._embedder.identity)}.",
                hint="Install the embedder it was made with, or ingest into a new folder.",
            )
        dimension = self.stamp.identity.dimension
        self._ledger = Ledger(folder / "ledger.sqlite")
        self._returned = returned_by(self._ledger, self.settings.chunking)
        self._tokens = TokenVectors(folder, dimension)
        self._tokens.require(self._ledger.counter("token_file"))
        self._keyword = KeywordIndex(folder / "keyword")
        self._store = open_store(self.stamp.store(folder), dimension=dimension)
        try:
            check_note(self._store, self.stamp, folder, whole=True)
        except IndexFault:
            self._store.close()
            raise
        self._seen = self._ledger.generation
        self._lock = threading.Lock()
        self._encoded = lru_cache(maxsize=4096)(self._encode)

    @property
    def settings(self) -> IndexSettings:
        return self.stamp.settings

    @property
    def awaited(self) -> bool:
        """Whether its store is a server that an event loop can wait for without a thread."""
        return self._store.awaited is not None

    @property
    def generation(self) -> int:
        """Grows with every change of the index."""
        return self._ledger.generation

    @property
    def fingerprint(self) -> str:
        """A hash of how the index was made and of every chunk and parent it holds."""
        return content_hash(self.stamp.manner, self._returned.content_hash())

    @property
    def count(self) -> int:
        """How many chunks it searches."""
        return self._ledger.counts()[1]

    @property
    def document_count(self) -> int:
        """How many documents it holds."""
        return self._ledger.counts()[0]

    def dense(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n ids with the cosine of their vector to the query's, best first.

        Raises:
            InputError: The filter is wrong.
            IndexFault: The vector store fails.
        """
        vector, asked = self._prepared(query, where)
        store = self._store
        return self._best(lambda most: store.query(vector, most, asked), n)

    async def adense(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Like `dense`, without blocking the event loop; no thread waits for a server."""
        vector, asked = await asyncio.to_thread(self._prepared, query, where)
        store = self._store
        if store.awaited is None:
            return await asyncio.to_thread(
                self._best, lambda most: store.query(vector, most, asked), n
            )
        most = self._returned.spare * n
        while True:
            hits = await store.awaited.query(vector, most, asked)
            found = await asyncio.to_thread(self._returned.best, hits, n, asked=most)
            if not isinstance(found, int):
                return found
            most = found

    def keyword(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n ids with their BM25 scores, best first.

        Raises:
            InputError: The filter is wrong.
        """
        self._refresh()
        asked = parse(where)
        return self._best(lambda most: self._keyword.query(query, most, asked), n)

    def maxsim(self, query: str, ids: Sequence[str]) -> list[float]:
        """Score by late interaction with the query's token vectors; 0 for unknown ids.

        Raises:
            IndexFault: The index holds no token vectors, since its embedder has none.
        """
        rows = self._encoded(query).tokens
        if rows is None:
            raise IndexFault(
                f"The index {str(self.folder)!r} holds no token vectors: its embedder "
                f"{self.settings.embedder!r} has none.",
                hint='Use reranker = "cross-encoder/..." or kind = "hybrid".',
            )
        chunks = self._returned.chunks_of(ids)
        searched = [chunk for id in ids for chunk in chunks.get(id, ())]
        file, spans = self._ledger.spans(searched)
        places = [spans.get(chunk, Span()) for chunk in searched]
        try:
            scores = self._tokens.maxsim(rows[0], file, places)
        except IndexFault:
            if self._ledger.counter("token_file") == file:
                raise
            # Another process compacted the file between the two steps.
            return self.maxsim(query, ids)
        found = dict(zip(searched, scores.tolist(), strict=True))
        return [max((found[chunk] for chunk in chunks.get(id, ())), default=0.0) for id in ids]

    def tokens(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the length in tokens of those ids that the index holds."""
        return self._returned.tokens(ids)

    def vectors(self, ids: Sequence[str]) -> dict[str, Floats]:
        """Return the dense vectors, shape (d,), of those ids that the index holds.

        A parent's is the mean of its chunks'.

        Raises:
            IndexFault: The vector store fails.
        """
        self._refresh()
        chunks = self._returned.chunks_of(ids)
        return _means(chunks, self._store.fetch(_every(chunks)))

    async def avectors(self, ids: Sequence[str]) -> dict[str, Floats]:
        """Like `vectors`, without blocking the event loop; no thread waits for a server."""
        await asyncio.to_thread(self._refresh)
        store = self._store
        if store.awaited is None:
            return await asyncio.to_thread(self.vectors, ids)
        chunks = await asyncio.to_thread(self._returned.chunks_of, ids)
        return _means(chunks, await store.awaited.fetch(_every(chunks)))

    def passages(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages of those ids that the index holds, in the order of `ids`."""
        held = self._returned.records(ids)
        records = [(id, held[id]) for id in ids if id in held]
        return [
            Passage(one.chunk.text, id=id, metadata={**one.chunk.facts, "tokens": one.tokens})
            for id, one in records
        ]

    def chunks(self) -> Iterator[Chunk]:
        """Yield all that it can return, in the order of documents and offsets."""
        return (record.chunk for record in self._returned.all_records())

    def document(self, id: str) -> list[Chunk]:
        """Return what it can return of one document, in the order of offsets; maybe nothing."""
        ids = self._returned.of_document(id)
        records = self._returned.records(ids)
        return [records[key].chunk for key in ids if key in records]

    def around(
        self, ids: Sequence[str], reach: int
    ) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """Return the ids up to `reach` before and after each in its document, nearest first."""
        documents = {passage.id: passage.document for passage in self.passages(ids)}
        orders = {name: self._returned.of_document(name) for name in set(documents.values())}
        places = {id: place for order in orders.values() for place, id in enumerate(order)}
        sides = {}
        for id in documents.keys() & places.keys():
            order, place = orders[documents[id]], places[id]
            before = order[max(0, place - reach) : place][::-1]
            sides[id] = (tuple(before), tuple(order[place + 1 : place + 1 + reach]))
        return sides

    def close(self) -> None:
        """Let go of files."""
        self._store.close()
        self._keyword.close()
        self._ledger.close()

    def _best(self, search: Search, n: int) -> dict[str, float]:
        """Search for more and more chunks until what is returned for them is n."""
        asked = self._returned.spare * n
        while isinstance(found := self._returned.best(search(asked), n, asked=asked), int):
            asked = found
        return found

    def _prepared(self, query: str, where: Where | None) -> tuple[Floats, Filter | None]:
        """Return what the store is to be asked; it may be another one by now."""
        self._refresh()
        return self._encoded(query).vectors[0], parse(where)

    def _encode(self, query: str) -> Encoded:
        return self._embedder.encode([query], tokens=True)

    def _refresh(self) -> None:
        """Open anew what does not see another process's writes by itself."""
        generation = self._ledger.generation
        if generation == self._seen:
            return
        with self._lock:
            if generation != self._seen:
                self._reload_store()
                self._keyword.reload()
                self._seen = generation

    def _reload_store(self) -> None:
        stamp = Stamp.read(self.folder)
        if stamp.store(self.folder) == self.stamp.store(self.folder):
            self._store.reload()
            check_note(self._store, self.stamp, self.folder, whole=True)
            return
        dimension = stamp.identity.dimension
        moved, self._store = self._store, open_store(stamp.store(self.folder), dimension=dimension)
        self.stamp = stamp
        moved.close()


_LOCK = threading.Lock()
_OPEN: dict[str, Index] = {}


def open_index(path: str | Path) -> Index:
    """Return the index in a folder, opened once per process.

    Raises:
        IndexFault: There is no index, or a part of it is missing or damaged.
        IdentityError: The embedder of that name is not the one the index was made with.
    """
    folder = os.path.realpath(path)
    with _LOCK:
        if folder not in _OPEN:
            _OPEN[folder] = Index(Path(folder))
        return _OPEN[folder]


async def aopen_index(path: str | Path) -> Index:
    """Like `open_index`, without blocking the event loop while it is opened."""
    index = _OPEN.get(os.path.realpath(path))
    return index if index is not None else await asyncio.to_thread(open_index, path)


def close_index(path: str | Path) -> None:
    """Close an index that `open_index` opened, if it did; the next call opens it anew."""
    with _LOCK:
        index = _OPEN.pop(os.path.realpath(path), None)
    if index is not None:
        index.close()


def _means(chunks: Mapping[str, Sequence[str]], rows: Mapping[str, Row]) -> dict[str, Floats]:
    held = {id: [rows[key].vector for key in keys if key in rows] for id, keys in chunks.items()}
    return {id: _mean(vectors) for id, vectors in held.items() if vectors}


def _mean(vectors: Sequence[Floats]) -> Floats:
    return vectors[0] if len(vectors) == 1 else np.asarray(np.mean(vectors, axis=0))


def _every(chunks: Mapping[str, Sequence[str]]) -> list[str]:
    return [id for some in chunks.values() for id in some]


def _shown(identity: EmbedderIdentity) -> str:
    return json.dumps(identity.as_dict())
