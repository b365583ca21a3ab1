"""A collection of somebody else's, read as the vector store of an index and never written.

A table beside the index says which of the owner's rows is which chunk. A row that the index does
not know yet is not found; one that its owner deleted is not either.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ragwright.retrievers.database import open_database, what_helps
from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.layouts import OwnedRow, read_owned_row
from ragwright.retrievers.metadata import add_date_seconds
from ragwright.retrievers.seen import batches
from ragwright.retrievers.stores.attachment import Attachment
from ragwright.retrievers.stores.base import ROWS_PER_CALL, StoreRow, StoreURL, slices
from ragwright.retrievers.stores.chroma import ChromaStore
from ragwright.retrievers.stores.owned_qdrant import OwnedQdrant
from ragwright.retrievers.types import Chunk, Metadata

ROWS = "rows.sqlite"
LEAST_WINDOW = 200
"""So many rows are looked at, at least, where a filter has to be passed."""

Passing = Callable[[Sequence[str] | None, Filter], set[str]]
"""The ids of chunks, or None for all, and a filter in; those that pass it out."""


class OwnedCollection(Protocol):
    """Somebody else's collection, for reading; `IndexFault` where it cannot be reached."""

    @property
    def space(self) -> str:
        """What distance it measures: "cosine", "l2" (squared) or "ip"."""
        ...

    @property
    def embedding_function(self) -> Mapping[str, Any]:
        """What it says of what embedded its texts; maybe nothing."""
        ...

    def revision(self) -> str:
        """Return what changes when rows are written."""
        ...

    def ids(self) -> Iterator[str]:
        """Yield every id that its owner gave."""
        ...

    def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        """Return the rows of those ids that exist."""
        ...

    def query(self, vector: Floats, n: int) -> dict[str, float]:
        """Return up to n ids, nearest first; of distances 1 less than each."""
        ...

    def reload(self) -> None:
        """See what another process wrote."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


@dataclass(frozen=True, slots=True)
class AttachedChunk:
    """What the index knows of an owner's row: its chunk, and where that lies in its document."""

    chunk: str
    document: str
    start: int
    end: int
    fingerprint: str


class RowTable:
    """Which of the owner's rows is which chunk. Safe to use from several threads.

    Args:
        folder: The folder of the index.

    Raises:
        IndexFault: It is damaged, or cannot be written; so does every method.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ROWS
        with self._faults():
            self._db = open_database(self._path, _TABLES, timeout=30)
        self._lock = threading.Lock()

    def known(self, owned: Iterable[str]) -> dict[str, AttachedChunk]:
        """Return what is known of those of the owner's ids that are."""
        query = f"SELECT owned, {_KNOWN} FROM rows WHERE owned IN (SELECT value FROM json_each(?))"
        return {
            row[0]: AttachedChunk(*row[1:]) for row in self._read(query, json.dumps(list(owned)))
        }

    def owners(self, chunks: Iterable[str]) -> dict[str, tuple[str, AttachedChunk]]:
        """Return an owner's id, and what is known of it, for those chunks that have one."""
        query = f"SELECT owned, {_KNOWN} FROM rows WHERE chunk IN (SELECT value FROM json_each(?))"
        found = self._read(query, json.dumps(list(chunks)))
        return {row[1]: (row[0], AttachedChunk(*row[1:])) for row in found}

    def put(self, rows: Mapping[str, AttachedChunk]) -> None:
        """Note rows, in place of what was known of them."""
        values = [
            (id, r.chunk, r.document, r.start, r.end, r.fingerprint) for id, r in rows.items()
        ]
        self._write("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?)", values)

    def drop(self, owned: Iterable[str]) -> None:
        """Forget rows."""
        self._write("DELETE FROM rows WHERE owned = ?", [(id,) for id in owned])

    def ids(self) -> list[str]:
        """Return every id of the owner's that is known."""
        return [id for (id,) in self._read("SELECT owned FROM rows")]

    def end(self, document: str) -> int:
        """Return where a further chunk of a document may start."""
        found = self._read("SELECT max(end) FROM rows WHERE document = ?", document)
        return 0 if found[0][0] is None else int(found[0][0]) + 1

    @property
    def revision(self) -> str:
        """The revision of the collection that was read last."""
        found = self._read("SELECT value FROM notes WHERE name = 'revision'")
        return str(found[0][0]) if found else ""

    def set_revision(self, revision: str) -> None:
        """Note which revision was read."""
        self._write("INSERT OR REPLACE INTO notes VALUES ('revision', ?)", [(revision,)])

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _read(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._faults(), self._lock:
            return self._db.execute(query, values).fetchall()

    def _write(self, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with self._faults(), self._lock, self._db:
            self._db.executemany(query, rows)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise IndexFault(
                f"The table of rows {str(self._path)!r} cannot be used: {error}.",
                hint=what_helps(
                    error,
                    "Make room on the disk. If the file is damaged, delete it and run `rag index "
                    "sync`, which makes it anew.",
                ),
            ) from error


_KNOWN = "chunk, document, start, end, fingerprint"
_TABLES = """
PRAGMA journal_mode=WAL;
CREATE TABLE IF NOT EXISTS rows (
    owned TEXT PRIMARY KEY, chunk TEXT NOT NULL, document TEXT NOT NULL, start INTEGER NOT NULL,
    end INTEGER NOT NULL, fingerprint TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS rows_by_chunk ON rows (chunk);
CREATE INDEX IF NOT EXISTS rows_by_document ON rows (document, end);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class AttachedStore:
    """The collection of somebody else as the store of an index. Nothing writes to it.

    Args:
        place: Where it is.
        folder: The folder of the index.
        note: What the store says of itself: the note of the index.
        how: How it is read.
        passing: What the index knows of filters; the owner's metadata lacks what it adds.

    Raises:
        IndexFault: It is not there, or cannot be reached.
    """

    awaited = None

    def __init__(
        self, place: StoreURL, folder: Path, *, note: str, how: Attachment, passing: Passing
    ) -> None:
        with ExitStack() as opened:
            self.rows = opened.enter_context(closing(RowTable(folder)))
            self.collection = open_owned(place)
            opened.pop_all()
        self._note, self._how, self._passing = note, how, passing

    @property
    def stale(self) -> bool:
        """Whether its owner wrote since the index last read it."""
        return self.collection.revision() != self.rows.revision

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Floats,
        texts: Sequence[str],
        metadata: Sequence[Metadata],
    ) -> None:
        """Change nothing: rows are their owner's."""

    def delete(self, ids: Sequence[str]) -> None:
        """Change nothing: rows are their owner's."""

    def query(self, vector: Floats, n: int, where: Filter | None = None) -> dict[str, float]:
        asked = n if where is None else max(4 * n, LEAST_WINDOW)
        while True:
            hits = self._nearest(vector, asked)
            found = self._mapped(hits)
            if where is not None:
                passed = self._passing(list(found), where)
                found = {id: score for id, score in found.items() if id in passed}
            if len(found) >= n or len(hits) < asked:
                return dict(list(found.items())[:n])
            if where is not None:
                return self._exact(vector, self._passing(None, where), n)
            asked *= 2

    def ids(self) -> Iterator[str]:
        """Yield the id of every chunk, and the owner's of rows that the index should know."""
        for page in batches(self.collection.ids(), ROWS_PER_CALL):
            known = self.rows.known(page)
            yield from dict.fromkeys(known[id].chunk for id in page if id in known)
            unknown = self.collection.fetch([id for id in page if id not in known])
            yield from (id for id, row in unknown.items() if self._read(id, row) is not None)

    def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        owners = self.rows.owners(ids)
        held = self.collection.fetch([owned for owned, _ in owners.values()])
        found = {}
        for chunk, (owned, known) in owners.items():
            if row := held.get(owned):
                found[chunk] = self._as_chunk(owned, known, row)
        return found

    def _as_chunk(self, owned: str, known: AttachedChunk, row: StoreRow) -> StoreRow:
        read = self._read(owned, row)
        if read is None:
            return StoreRow(row.vector, "", {})
        end = known.start + len(read.text)
        piece = Chunk(known.document, known.start, end, read.text, read.metadata)
        return StoreRow(row.vector, read.text, add_date_seconds(piece.facts))

    def _read(self, owned: str, row: StoreRow) -> OwnedRow | None:
        return read_owned_row(owned, row.text, row.metadata, document=self._how.document)

    def stamp(self) -> str:
        return self._note

    def set_stamp(self, text: str) -> None:
        """Change nothing: the note is on the index."""

    def reload(self) -> None:
        self.collection.reload()

    def mend(self, *, broken: bool = False) -> None:
        """Change nothing: its owner has to."""

    def close(self) -> None:
        self.collection.close()
        self.rows.close()

    def _nearest(self, vector: Floats, n: int) -> dict[str, float]:
        """Return the owner's ids with cosines, whatever distance the collection measures.

        Chroma's l2 is squared: for vectors of length r, |a - b|^2 = 2 r^2 (1 - cos).
        """
        norm = self._how.norm
        found = self.collection.query(np.asarray(vector * norm, dtype=np.float32), n)
        match self.collection.space:
            case "l2":
                return {id: 1 - (1 - value) / (2 * norm**2) for id, value in found.items()}
            case "ip":
                return {id: value / norm**2 for id, value in found.items()}
            case _:
                return found

    def _mapped(self, hits: Mapping[str, float]) -> dict[str, float]:
        known = self.rows.known(hits)
        found: dict[str, float] = {}
        for id, score in hits.items():
            if id in known:
                found.setdefault(known[id].chunk, score)
        return found

    def _exact(self, vector: Floats, chunks: Iterable[str], n: int) -> dict[str, float]:
        """Score all of these; few pass a filter that the nearest did not pass."""
        ordered, scores = list(chunks), {}
        for part in slices(len(ordered)):
            for id, row in self.fetch(ordered[part]).items():
                length = math.sqrt(float(row.vector @ row.vector)) or 1.0
                scores[id] = float(row.vector @ vector) / length
        best = sorted(scores, key=lambda id: (-scores[id], id))[:n]
        return {id: scores[id] for id in best}


def open_owned(place: StoreURL) -> OwnedCollection:
    """Open a collection for reading.

    Raises:
        IndexFault: It is not there, or cannot be reached.
    """
    if place.kind == "qdrant":
        return OwnedQdrant(place)
    return ChromaStore(separate_client_url(place))


def separate_client_url(place: StoreURL) -> StoreURL:
    """Return a place under a name that no client of its owner's has.

    Chroma keeps one client for each name of a folder in a process, and refuses a second one of
    other settings.
    """
    return place if place.remote else replace(place, address=f"{place.address}/.")
