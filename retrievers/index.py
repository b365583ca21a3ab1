"""An index on disk, opened for reading: questions in, scored chunk ids and passages out.

An index is a folder with a stamp (how it was made), a ledger (what it holds), a vector store, a
keyword index and token vectors. `ingest.py` writes it. This module knows no program.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from retrievers.embedding import EmbedderIdentity, Encoded, Floats, load_embedder
from retrievers.errors import IdentityError, IndexFault
from retrievers.filters import Filter, parse
from retrievers.keyword import KeywordIndex
from retrievers.late import Span, TokenVectors
from retrievers.ledger import Ledger, Record
from retrievers.stamp import IndexSettings, Stamp, check_note
from retrievers.stores.base import Row, VectorStore, Where
from retrievers.stores.opening import open_store
from retrievers.types import Chunk, Passage, Scalar, content_hash

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
        self._tokens = TokenVectors(folder, dimension)
        self._tokens.require(self._ledger.counter("token_file"))
        self._keyword = KeywordIndex(folder / "keyword")
        self._store = open_store(self.stamp.store(folder), dimension=dimension)
        try:
            check_note(self._store, self.stamp, folder)
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
        """A hash of how the index was made and of every chunk it holds."""
        return content_hash(self.stamp.manner, self._ledger.content_hash())

    @property
    def count(self) -> int:
        """How many chunks it holds."""
        return self._ledger.counts()[1]

    @property
    def document_count(self) -> int:
        """How many documents it holds."""
        return self._ledger.counts()[0]

    def dense(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n chunk ids with the cosine of their vector to the query's, best first.

        Raises:
            InputError: The filter is wrong.
            IndexFault: The vector store fails.
        """
        store, vector, asked = self._prepared(query, where)
        return store.query(vector, n, asked)

    async def adense(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Like `dense`, without blocking the event loop; no thread waits for a server."""
        store, vector, asked = await asyncio.to_thread(self._prepared, query, where)
        if store.awaited is None:
            return await asyncio.to_thread(store.query, vector, n, asked)
        return await store.awaited.query(vector, n, asked)

    def keyword(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n chunk ids with their BM25 scores, best first.

        Raises:
            InputError: The filter is wrong.
        """
        self._refresh()
        return self._keyword.query(query, n, parse(where))

    def maxsim(self, query: str, ids: Sequence[str]) -> list[float]:
        """Score chunks by late interaction with the query's token vectors; 0 for unknown ids.

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
        file, spans = self._ledger.spans(ids)
        places = [spans.get(id, Span()) for id in ids]
        try:
            return [float(score) for score in self._tokens.maxsim(rows[0], file, places)]
        except IndexFault:
            if self._ledger.counter("token_file") == file:
                raise
            # Another process compacted the file between the two steps.
            return self.maxsim(query, ids)

    def tokens(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the length in tokens of those ids that the index holds."""
        return self._ledger.tokens(ids)

    def vectors(self, ids: Sequence[str]) -> dict[str, Floats]:
        """Return the dense vectors, shape (d,), of those ids that the index holds.

        Raises:
            IndexFault: The vector store fails.
        """
        self._refresh()
        return _vectors(self._store.fetch(ids))

    async def avectors(self, ids: Sequence[str]) -> dict[str, Floats]:
        """Like `vectors`, without blocking the event loop; no thread waits for a server."""
        await asyncio.to_thread(self._refresh)
        store = self._store
        if store.awaited is None:
            return _vectors(await asyncio.to_thread(store.fetch, ids))
        return _vectors(await store.awaited.fetch(ids))

    def passages(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages of those ids that the index holds, in the order of `ids`."""
        records = self._ledger.records(ids)
        return [
            Passage(records[id].chunk.text, id=id, metadata=_facts(records[id]))
            for id in ids
            if id in records
        ]

    def chunks(self) -> Iterator[Chunk]:
        """Yield every chunk, in the order of documents and offsets."""
        return (record.chunk for record in self._ledger.all_records())

    def document(self, id: str) -> list[Chunk]:
        """Return the chunks of one document in the order of offsets; none if it is not held."""
        ids = self._ledger.chunk_ids(id)
        records = self._ledger.records(ids)
        return [records[key].chunk for key in ids if key in records]

    def close(self) -> None:
        """Let go of files."""
        self._store.close()
        self._keyword.close()
        self._ledger.close()

    def _prepared(
        self, query: str, where: Where | None
    ) -> tuple[VectorStore, Floats, Filter | None]:
        """Return the store with what it is to be asked."""
        self._refresh()
        return self._store, self._encoded(query).vectors[0], parse(where)

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


def _facts(record: Record) -> dict[str, Scalar]:
    return {**record.chunk.facts, "tokens": record.tokens}


def _vectors(rows: Mapping[str, Row]) -> dict[str, Floats]:
    return {id: row.vector for id, row in rows.items()}


def _shown(identity: EmbedderIdentity) -> str:
    return json.dumps(identity.as_dict())
