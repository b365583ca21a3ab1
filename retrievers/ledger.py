"""What an index holds, in SQLite: the one source of truth.

Vector store, keyword index and token vectors can each be a step ahead after a crash; the ledger
says which chunks count. A chunk is `writing` until every part holds it, then `live`, then `dead`
until every part has dropped it. Nothing here reads a whole table into memory. Knows nothing of
those parts, nor of what `returned.py` keeps in the table of parents.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retrievers.errors import IndexFault
from retrievers.late import Span
from retrievers.types import Chunk, Document, hash_of

State = Literal["writing", "live", "dead"]

PAGE = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL,
    start INTEGER NOT NULL, end INTEGER NOT NULL, text TEXT NOT NULL, metadata TEXT NOT NULL,
    tokens INTEGER NOT NULL, state TEXT NOT NULL,
    vector_start INTEGER NOT NULL DEFAULT 0, vector_count INTEGER NOT NULL DEFAULT 0,
    vector_sum INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS parents (
    id TEXT PRIMARY KEY, document TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
    text TEXT NOT NULL, metadata TEXT NOT NULL, tokens INTEGER NOT NULL, UNIQUE (document, start));
CREATE INDEX IF NOT EXISTS chunks_by_document ON chunks (document, start);
CREATE INDEX IF NOT EXISTS chunks_unsettled ON chunks (state) WHERE state != 'live';
CREATE INDEX IF NOT EXISTS chunks_without_text ON chunks (
    id, state, tokens, vector_start, vector_count, vector_sum);
"""
"""The last index holds what every query asks of some 200 candidates, so that no text is read."""
AMONG = "id IN (SELECT value FROM json_each(?)) AND state = 'live'"
"""One variable however many ids: SQLite limits the number of variables."""


@dataclass(frozen=True, slots=True)
class Record:
    """A chunk as the ledger holds it.

    Attributes:
        chunk: Its text, offsets and metadata.
        tokens: Length of the text in tokens of the index's encoding.
        span: Where its token vectors lie in the token file.
    """

    chunk: Chunk
    tokens: int
    span: Span


class Ledger:
    """The ledger of one index. Safe to use from several threads; one process may write.

    Args:
        path: The SQLite file.
        create: Make the file if it is missing.

    Raises:
        IndexFault: The file is missing or is not a ledger; later, it cannot be written.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if not create and not path.is_file():
            raise IndexFault(f"The ledger {str(path)!r} is missing.", hint="Run `rag ingest`.")
        self._path = path
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, timeout=30)
            self._connection.execute("PRAGMA journal_mode=WAL")
            if create:
                self._connection.executescript(_SCHEMA)
            self.generation  # noqa: B018 - the first read shows whether this is a ledger
        except sqlite3.DatabaseError as error:
            raise IndexFault(
                f"{str(path)!r} is not a ledger, or cannot be opened: {error}.",
                hint="Make sure that the disk has room; or build the index again.",
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside, all of it or nothing.

        Raises:
            IndexFault: It cannot be written, because the disk is full for example.
        """
        try:
            with self._lock, self._connection:
                yield
        except sqlite3.OperationalError as error:
            raise IndexFault(
                f"The ledger {str(self._path)!r} cannot be written: {error}.",
                hint="Make room on the disk; the ingest goes on where it stopped.",
            ) from error

    @property
    def generation(self) -> int:
        """Grows with every change that readers can see."""
        return self.counter("generation")

    def bump(self) -> None:
        """Tell readers that something changed."""
        self.set_counter("generation", self.generation + 1)

    def counter(self, name: str) -> int:
        """Return a number kept under a name; 0 at first."""
        rows = self.rows("SELECT value FROM counters WHERE name = ?", (name,))
        return int(rows[0][0]) if rows else 0

    def set_counter(self, name: str, value: int) -> None:
        self.run("INSERT OR REPLACE INTO counters VALUES (?, ?)", (name, value))

    def fingerprint(self, document: str) -> str | None:
        """Return a document's fingerprint; None if the index does not hold it."""
        rows = self.rows("SELECT fingerprint FROM documents WHERE id = ?", (document,))
        return str(rows[0][0]) if rows else None

    def documents(self) -> Iterator[str]:
        """Yield the id of every document, in order; they may be dropped meanwhile."""
        query = "SELECT id FROM documents WHERE id > ? ORDER BY id LIMIT ?"
        return (id for (id,) in self.paged(query, ("",), key=slice(0, 1)))

    def put_document(self, document: Document) -> None:
        values = (document.id, document.fingerprint)
        self.run("INSERT OR REPLACE INTO documents VALUES (?, ?)", values)

    def drop_document(self, id: str) -> None:
        self.run("DELETE FROM documents WHERE id = ?", (id,))

    def put_chunk(self, chunk: Chunk, *, tokens: int) -> None:
        """Enter a chunk as `writing`."""
        metadata = json.dumps(dict(chunk.metadata))
        self.run(
            "INSERT INTO chunks (id, document, start, end, text, metadata, tokens, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'writing')",
            (chunk.id, chunk.document_id, chunk.start, chunk.end, chunk.text, metadata, tokens),
        )

    def set_spans(self, spans: Iterable[tuple[str, Span]]) -> None:
        """Note where chunks' token vectors lie."""
        values = [(span.start, span.count, span.checksum, id) for id, span in spans]
        query = "UPDATE chunks SET vector_start = ?, vector_count = ?, vector_sum = ? WHERE id = ?"
        with self._lock:
            self._connection.executemany(query, values)

    def set_state(self, ids: Iterable[str], state: State) -> None:
        with self._lock:
            values = [(state, id) for id in ids]
            self._connection.executemany("UPDATE chunks SET state = ? WHERE id = ?", values)

    def forget(self, ids: Iterable[str]) -> None:
        """Remove chunks that every part has dropped."""
        with self._lock:
            values = [(id,) for id in ids]
            self._connection.executemany("DELETE FROM chunks WHERE id = ?", values)

    def unsettled(self) -> list[str]:
        """Return ids of chunks that a crash left `writing` or `dead`: a page of them."""
        query = f"SELECT id FROM chunks WHERE state != 'live' LIMIT {PAGE}"
        return [id for (id,) in self.rows(query)]

    @property
    def unsettled_count(self) -> int:
        """How many chunks a crash left `writing` or `dead`."""
        return int(self.rows("SELECT count(*) FROM chunks WHERE state != 'live'")[0][0])

    def chunk_ids(self, document: str) -> list[str]:
        """Return the ids of the live chunks of a document."""
        query = "SELECT id FROM chunks WHERE document = ? AND state = 'live' ORDER BY start"
        return [id for (id,) in self.rows(query, (document,))]

    def records(self, ids: Sequence[str]) -> dict[str, Record]:
        """Return the live chunks among these ids."""
        query = f"SELECT {_COLUMNS} FROM chunks WHERE {AMONG}"
        return {row[0]: record(row) for row in self.rows(query, (json.dumps(list(ids)),))}

    def tokens(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the token counts of the live chunks among these ids."""
        query = f"SELECT id, tokens FROM chunks WHERE {AMONG}"
        return dict(self.rows(query, (json.dumps(list(ids)),)))

    def spans(self, ids: Sequence[str]) -> tuple[int, dict[str, Span]]:
        """Return the token file's number, and where in it the live chunks' vectors lie."""
        query = (
            f"SELECT id, {_SPAN}, "
            "(SELECT value FROM counters WHERE name = 'token_file') "
            f"FROM chunks WHERE {AMONG}"
        )
        rows = self.rows(query, (json.dumps(list(ids)),))
        return (rows[0][4] or 0) if rows else 0, {row[0]: Span(*row[1:4]) for row in rows}

    def all_records(self) -> Iterator[Record]:
        """Yield every live chunk, in the order of documents and offsets."""
        query = (
            f"SELECT {_COLUMNS}, row FROM chunks WHERE state = 'live' "
            "AND (document, start, row) > (?, ?, ?) ORDER BY document, start, row LIMIT ?"
        )
        rows = self.paged(query, ("", -1, -1), key=(1, 2, -1))
        return (record(row) for row in rows)

    def ids(self) -> Iterator[str]:
        """Yield the id of every live chunk, in their order."""
        query = "SELECT id FROM chunks WHERE state = 'live' AND id > ? ORDER BY id LIMIT ?"
        return (id for (id,) in self.paged(query, ("",), key=slice(0, 1)))

    def counts(self) -> tuple[int, int]:
        """Return how many documents and how many live chunks there are."""
        documents = self.rows("SELECT count(*) FROM documents")[0][0]
        chunks = self.rows("SELECT count(*) FROM chunks")[0][0]
        return int(documents), int(chunks) - self.unsettled_count

    def token_rows(self) -> int:
        """Return how many rows of the token file belong to live chunks."""
        query = "SELECT sum(vector_count) FROM chunks WHERE state = 'live'"
        return int(self.rows(query)[0][0] or 0)

    def vacuum(self) -> None:
        """Give the room of deleted rows back to the disk."""
        self.run("VACUUM")

    def content_hash(self) -> str:
        """Return a hash of the ids of all live chunks."""
        return hash_of(self.ids())

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def paged(
        self, query: str, first: tuple[object, ...], *, key: slice | tuple[int, ...]
    ) -> Iterator[tuple]:  # type: ignore[type-arg]
        """Run a query that goes on after a key, page by page; other work may go on between."""
        after: tuple[object, ...] = first
        while rows := self.rows(query, (*after, PAGE)):
            yield from rows
            last = rows[-1]
            after = last[key] if isinstance(key, slice) else tuple(last[at] for at in key)

    def run(self, query: str, values: Sequence[object] = ()) -> None:
        """Run a statement; inside `transaction` it is part of it."""
        with self._lock:
            self._connection.execute(query, values)

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        """Return the rows that a query finds, all of them."""
        with self._lock:
            return self._connection.execute(query, tuple(values)).fetchall()


_SPAN = "vector_start, vector_count, vector_sum"
_COLUMNS = f"id, document, start, end, text, metadata, tokens, {_SPAN}"


def record(row: tuple) -> Record:  # type: ignore[type-arg]
    """Read a row: id, document, start, end, text, metadata, tokens and a span's three numbers."""
    chunk = Chunk(row[1], row[2], row[3], row[4], json.loads(row[5]))
    return Record(chunk, row[6], Span(*row[7:10]))
