"""Reads an index on disk: finds ids with scores, and their passages.

An index is a folder with a stamp (how it was made), a ledger (what it holds), a vector store, a
keyword index and token vectors. `ingest.py` writes it, `read_parts.py` opens its parts. Ids are
those of what is returned: of chunks, or of their parents if they have any. Knows no program.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cachetools import LRUCache, cached

from ragwright.retrievers.argument_checks import folder_as_text
from ragwright.retrievers.embedding import EncodedTexts, Floats
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.filters import Filter, parse_filter
from ragwright.retrievers.late import VectorSpan
from ragwright.retrievers.ledger import Length
from ragwright.retrievers.metadata import clean_text
from ragwright.retrievers.protected import is_protected, protected_mark, readable_folder
from ragwright.retrievers.read_parts import ReadParts
from ragwright.retrievers.refusals import translate_filter_refusals
from ragwright.retrievers.returned import Sides, mean_vectors
from ragwright.retrievers.stamp import STAMP, IndexSettings, Stamp, stamp_mark
from ragwright.retrievers.types import Chunk, Passage, Where, content_hash

SearchFunction = Callable[[int], dict[str, float]]
"""A number in, the ids of up to so many chunks with their scores out, best first."""

LARGE = 20_000
"""Chunks from which on two searches at a time are faster than one after the other."""

ENCODED_BYTES = 1 << 25
"""Of the vectors of questions that were asked: a long one has a vector for each of its words."""

MOST_ENCODED = 2048
"""Questions whose vectors are kept, however short they are."""

PARTS = (STAMP, "ledger.sqlite", "keyword", "rotation.npy")

__all__ = [
    "Index",
    "IndexSettings",
    "aopen_index",
    "close_index",
    "index_files_exist",
    "open_index",
]


class Index:
    """An index, open for reading. Safe to use from several threads.

    It notices what another process writes, at the next call, and when another index was put into
    the folder.

    Args:
        folder: The folder of the index.

    Raises:
        IndexFault: There is no index, or a part of it is missing or damaged.
        IdentityError: The embedder of that name is not the one the index was made with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mark_of = protected_mark if is_protected(folder) else stamp_mark
        self._mark = self._mark_of(folder)
        self._open = ReadParts(readable_folder(folder))
        self._former: list[ReadParts] = []
        self._following = threading.Lock()
        kept = LRUCache[Any, EncodedTexts](ENCODED_BYTES, _bytes_of)
        # Another index may be put here while a question is embedded for the one before.
        keyed = cached(kept, key=lambda query: (self._open.stamp.id, query), lock=threading.Lock())
        self._encoded = keyed(self._encode)

    @property
    def _parts(self) -> ReadParts:
        """The parts of what lies in the folder now: another index may have been put there.

        Of a folder that is gone, those that are open still answer.
        """
        mark = self._mark_of(self.folder)
        if mark is not None and mark != self._mark:
            self._follow(mark)
        return self._open

    def _follow(self, mark: tuple[int, ...]) -> None:
        """Open another index that lies in the folder; searches under way end with the one before.

        Raises:
            IndexFault: It cannot be opened, while it is being made for example.
        """
        with self._following:
            if mark == self._mark:
                return
            folder = readable_folder(self.folder)
            if folder != self._open.folder or Stamp.read(folder).id != self._open.stamp.id:
                parts = ReadParts(folder)
                for former in self._former:
                    former.close()
                self._former, self._open = [self._open], parts
                self._encoded.cache_clear()
            self._mark = mark

    @property
    def stamp(self) -> Stamp:
        """How it was made, and where its vectors lie by now."""
        return self._parts.stamp

    @property
    def settings(self) -> IndexSettings:
        return self.stamp.settings

    @property
    def awaited(self) -> bool:
        """Whether its store is a server that an event loop can wait for without a thread."""
        return self._parts.awaited is not None

    @property
    def generation(self) -> int:
        """Grows with every change of the index."""
        return self._parts.ledger.generation

    def state_at_once(self) -> tuple[int, str] | None:
        """Return its generation and id where that takes no waiting, for an event loop.

        None where another index lies in the folder, or where a thread reads the ledger just now.
        """
        if self._mark_of(self.folder) not in (None, self._mark):
            return None
        generation = self._open.ledger.generation_at_once()
        return None if generation is None else (generation, self._open.stamp.id)

    @property
    def fingerprint(self) -> str:
        """A hash of how the index was made and of every chunk and parent it holds."""
        return content_hash(self.stamp.manner, self._parts.returned.content_hash())

    @property
    def count(self) -> int:
        """How many chunks it searches."""
        return self._parts.ledger.counts()[1]

    @property
    def is_large(self) -> bool:
        """Whether a search takes much longer than it takes to hand another one to a thread."""
        return self._parts.rows_written >= LARGE

    @property
    def document_count(self) -> int:
        """How many documents it holds."""
        return self._parts.ledger.counts()[0]

    def dense(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n ids with the cosine of their vector to the query's, best first.

        Nothing is near to a question without a letter or sign.

        Raises:
            InputError: The filter is wrong.
            IndexFault: The vector store fails.
        """
        if not query.strip():
            parse_filter(where)
            return {}
        return self.near(self.vector_of(query), n, where)

    def near(self, vector: Floats, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n ids with the cosine of their vector to `vector`, shape (d,), best first.

        Raises:
            InputError: The filter is wrong.
            IndexFault: The vector store fails.
        """
        self._parts.refresh()
        parts, asked = self._parts, parse_filter(where)
        with translate_filter_refusals(filtered=asked is not None):
            return self._best(lambda most: parts.nearest(vector, most, asked), n)

    def vector_of(self, query: str) -> Floats:
        """Return the vector of a question, shape (d,), by the embedder of the index."""
        vector: Floats = self._encoded(query).vectors[0]
        return vector

    async def adense(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Like `dense`, without blocking the event loop; no thread waits for a server."""
        if not self.awaited or not query.strip():
            return await asyncio.to_thread(self.dense, query, n, where)
        vector, asked = await asyncio.to_thread(self._prepared, query, where)
        store = self._parts.store
        if store.awaited is None:  # it was moved meanwhile
            return await asyncio.to_thread(self.dense, query, n, where)
        most = self._parts.returned.spare * n
        while True:
            with translate_filter_refusals(filtered=asked is not None):
                hits = await store.awaited.query(vector, most, asked)
            found = await asyncio.to_thread(self._parts.returned.best, hits, n, asked=most)
            if not isinstance(found, int):
                return found
            most = found

    def keyword(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n ids with their BM25 scores, best first.

        Raises:
            InputError: The filter is wrong.
        """
        self._parts.refresh()
        asked = parse_filter(where)
        return self._best(lambda most: self._parts.keyword.query(query, most, asked), n)

    def maxsim(self, query: str, ids: Sequence[str]) -> list[float]:
        """Score by late interaction with the query's token vectors; 0 for unknown ids.

        Raises:
            IndexFault: The index holds no token vectors, since its embedder has none.
        """
        rows, attached = self._encoded(query).tokens, self.stamp.attached
        if rows is None or (attached is not None and not attached.tokens):
            why = f"its embedder {self.settings.embedder!r} has none"
            raise IndexFault(
                f"The index {str(self.folder)!r} holds no token vectors: "
                f"{why if rows is None else 'it was attached without'}.",
                hint='Use reranker = "cross-encoder/..." or kind = "hybrid".',
            )
        chunks = self._parts.returned.chunks_of(ids)
        searched = [chunk for id in ids for chunk in chunks.get(id, ())]
        file, spans = self._parts.ledger.spans(searched)
        places = [spans.get(chunk, VectorSpan()) for chunk in searched]
        try:
            scores = self._parts.tokens.maxsim(rows[0], file, places)
        except IndexFault:
            if self._parts.ledger.counter("token_file") == file:
                raise
            # Another process compacted the file between the two steps.
            return self.maxsim(query, ids)
        found = dict(zip(searched, scores.tolist(), strict=True))
        return [max((found[chunk] for chunk in chunks.get(id, ())), default=0.0) for id in ids]

    def tokens(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the length in tokens of those ids that the index holds."""
        return self._parts.returned.tokens(ids)

    def lengths(self, ids: Sequence[str]) -> dict[str, Length]:
        """Return the lengths, in tokens and characters, of those ids that the index holds."""
        return self._parts.returned.lengths(ids)

    def texts(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the texts of those ids that the index holds; cheaper than `passages`."""
        return self._parts.returned.texts(ids)

    def vectors(self, ids: Sequence[str]) -> dict[str, Floats]:
        """Return the dense vectors, shape (d,), of those ids that the index holds.

        A parent's is the mean of its chunks'.

        Raises:
            IndexFault: The vector store fails.
        """
        self._parts.refresh()
        chunks = self._parts.returned.chunks_of(ids)
        return mean_vectors(chunks, self._parts.store.fetch(_every(chunks)))

    async def avectors(self, ids: Sequence[str]) -> dict[str, Floats]:
        """Like `vectors`, without blocking the event loop; no thread waits for a server."""
        await asyncio.to_thread(self._parts.refresh)
        store = self._parts.store
        if store.awaited is None:
            return await asyncio.to_thread(self.vectors, ids)
        chunks = await asyncio.to_thread(self._parts.returned.chunks_of, ids)
        return mean_vectors(chunks, await store.awaited.fetch(_every(chunks)))

    def passages(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages of those ids that the index holds, in the order of `ids`."""
        held = self._parts.returned.records(ids)
        records = [(id, held[id]) for id in ids if id in held]
        return [
            Passage(one.chunk.text, id=id, metadata={**one.chunk.facts, "tokens": one.tokens})
            for id, one in records
        ]

    def chunks(self) -> Iterator[Chunk]:
        """Yield all that it can return, in the order of documents and offsets."""
        return (record.chunk for record in self._parts.returned.all_records())

    def document_ids(self) -> Iterator[str]:
        """Yield the id of every document, in order."""
        return self._parts.ledger.documents()

    def document(self, id: str) -> list[Chunk]:
        """Return what it can return of one document, in the order of offsets; maybe nothing."""
        ids = self._parts.returned.of_document(id)
        records = self._parts.returned.records(ids)
        return [records[key].chunk for key in ids if key in records]

    def passing(self, ids: Sequence[str], where: Where) -> set[str]:
        """Return those of these ids that pass a filter with every chunk that stands for them.

        Raises:
            InputError: The filter is wrong.
            IndexFault: The keyword index, which knows it, cannot be read.
        """
        self._parts.refresh()
        asked = parse_filter(where)
        chunks = self._parts.returned.chunks_of(ids)
        every = _every(chunks)
        passed = self._parts.keyword.passing(every, asked) if asked else set(every)
        return {id for id, some in chunks.items() if some and passed.issuperset(some)}

    def around(self, ids: Sequence[str], reach: int) -> dict[str, Sides]:
        """Return the ids up to `reach` before and after each in its document, nearest first."""
        return self._parts.returned.around(ids, reach)

    def close(self) -> None:
        """Let go of files."""
        for parts in (*self._former, self._open):
            parts.close()

    def _best(self, search: SearchFunction, n: int) -> dict[str, float]:
        """Search for more and more chunks until what is returned for them is n."""
        asked = self._parts.returned.spare * n
        while isinstance(found := self._parts.returned.best(search(asked), n, asked=asked), int):
            asked = found
        return found

    def _prepared(self, query: str, where: Where | None) -> tuple[Floats, Filter | None]:
        """Return what the store is to be asked; it may be another one by now."""
        self._parts.refresh()
        return self._encoded(query).vectors[0], parse_filter(where)

    def _encode(self, query: str) -> EncodedTexts:
        return self._parts.embedder.encode([clean_text(query)], tokens=True)


def _bytes_of(encoded: EncodedTexts) -> int:
    held = encoded.vectors.nbytes + sum(rows.nbytes for rows in encoded.tokens or ())
    return max(held, ENCODED_BYTES // MOST_ENCODED)


_LOCK = threading.Lock()
_OPEN: dict[str, Index] = {}


def open_index(path: str | Path) -> Index:
    """Return the index in a folder, opened once per process.

    Raises:
        IndexFault: There is no index, or a part of it is missing or damaged.
        IdentityError: The embedder of that name is not the one the index was made with.
    """
    folder = os.path.realpath(folder_as_text(path))
    with _LOCK:
        if folder not in _OPEN:
            _OPEN[folder] = Index(Path(folder))
        return _OPEN[folder]


async def aopen_index(path: str | Path) -> Index:
    """Like `open_index`, without blocking the event loop while it is opened."""
    index = already_open(path)
    return index if index is not None else await asyncio.to_thread(open_index, path)


def already_open(path: str | Path) -> Index | None:
    """Return the index in a folder if this process has opened it."""
    return _OPEN.get(os.path.realpath(folder_as_text(path)))


def index_files_exist(path: str | Path) -> bool:
    """Tell whether the files of an index are where they belong, without opening any of them."""
    folder = Path(path)
    return all((folder / part).exists() for part in PARTS)


def close_index(path: str | Path) -> None:
    """Close an index that `open_index` opened, if it did; the next call opens it anew."""
    with _LOCK:
        index = _OPEN.pop(os.path.realpath(path), None)
    if index is not None:
        index.close()


def _every(chunks: Mapping[str, Sequence[str]]) -> list[str]:
    return [id for some in chunks.values() for id in some]
