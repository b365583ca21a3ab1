"""What an index holds, in SQLite: the one source of truth.

Vector store, keyword index and token vectors can each be a step ahead after a crash; the ledger
says which chunks count. A chunk is `writing` until every part holds it, then `live`, then `dead`
until every part has dropped it. Knows nothing of those parts.
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
from retrievers.types import Chunk, Document, content_hash

State = Literal["writing", "live", "dead"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL,
    start INTEGER NOT NULL, end INTEGER NOT NULL, text TEXT NOT NULL, metadata TEXT NOT NULL,
    tokens INTEGER NOT NULL, state TEXT NOT NULL,
    vector_start INTEGER NOT NULL DEFAULT 0, vector_count INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS chunks_by_document ON chunks (document, start);
CREATE INDEX IF NOT EXISTS chunks_unsettled ON chunks (state) WHERE state != 'live';
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A chunk as the ledger holds it.

    Attributes:
        chunk: Its text, offsets and metadata.
        tokens: Length of the text in tokens of the index's encoding.
        vector_start: Row of its first token vector in the token file.
        vector_count: How many token vectors it has.
    """

    chunk: Chunk
    tokens: int
    vector_start: int
    vector_count: int


class Ledger:
    """The ledger of one index. Safe to use from several threads; one process may write.

    Args:
        path: The SQLite file.
        create: Make the file if it is missing.

    Raises:
        IndexFault: The file is missing or is not a ledger.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if not create and not path.is_file():
            raise IndexFault(f"The ledger {str(path)!r} is missing.", hint="Run `rag ingest`.")
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, timeout=30)
            self._connection.execute("PRAGMA journal_mode=WAL")
            if create:
                self._connection.executescript(_SCHEMA)
            self.generation  # noqa: B018 - the first read shows whether this is a ledger
        except sqlite3.DatabaseError as error:
            raise IndexFault(
                f"{str(path)!r} is not a ledger: {error}.", hint="Build the index again."
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside, all of it or nothing."""
        with self._lock, self._connection:
            yield

    @property
    def generation(self) -> int:
        """Grows by one with every change that readers can see."""
        rows = self._all("SELECT value FROM counters WHERE name = 'generation'")
        return int(rows[0][0]) if rows else 0

    def bump(self) -> None:
        """Tell readers that something changed."""
        self._run(
            "INSERT INTO counters VALUES ('generation', 1) "
            "ON CONFLICT (name) DO UPDATE SET value = value + 1"
        )

    def documents(self) -> dict[str, str]:
        """Return the fingerprint of every document by its id."""
        return dict(self._all("SELECT id, fingerprint FROM documents"))

    def put_document(self, document: Document) -> None:
        values = (document.id, document.fingerprint)
        self._run("INSERT OR REPLACE INTO documents VALUES (?, ?)", values)

    def drop_document(self, id: str) -> None:
        self._run("DELETE FROM documents WHERE id = ?", (id,))

    def put_chunk(self, chunk: Chunk, *, tokens: int) -> None:
        """Enter a chunk as `writing`."""
        metadata = json.dumps(dict(chunk.metadata))
        self._run(
            "INSERT INTO chunks (id, document, start, end, text, metadata, tokens, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'writing')",
            (chunk.id, chunk.document_id, chunk.start, chunk.end, chunk.text, metadata, tokens),
        )

    def set_vectors(self, id: str, start: int, count: int) -> None:
        """Note where a chunk's token vectors lie."""
        values = (start, count, id)
        self._run("UPDATE chunks SET vector_start = ?, vector_count = ? WHERE id = ?", values)

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
        """Return the ids of chunks that a crash left `writing` or `dead`."""
        return [id for (id,) in self._all("SELECT id FROM chunks WHERE state != 'live'")]

    def chunk_ids(self, document: str | None = None) -> list[str]:
        """Return the ids of live chunks, of one document or of all."""
        if document is None:
            return [id for (id,) in self._all("SELECT id FROM chunks WHERE state = 'live'")]
        query = "SELECT id FROM chunks WHERE document = ? AND state = 'live' ORDER BY start"
        return [id for (id,) in self._all(query, (document,))]

    def records(self, ids: Sequence[str]) -> dict[str, Record]:
        """Return the live chunks among these ids."""
        marks = ",".join("?" * len(ids))
        rows = self._all(
            f"SELECT {_COLUMNS} FROM chunks WHERE id IN ({marks}) AND state = 'live'",
            ids,
        )
        return {row[0]: _record(row) for row in rows}

    def tokens(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the token counts of the live chunks among these ids."""
        marks = ",".join("?" * len(ids))
        query = f"SELECT id, tokens FROM chunks WHERE id IN ({marks}) AND state = 'live'"
        return dict(self._all(query, ids))

    def spans(self, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return start and count of the token vectors of the live chunks among these ids."""
        marks = ",".join("?" * len(ids))
        query = (
            "SELECT id, vector_start, vector_count FROM chunks "
            f"WHERE id IN ({marks}) AND state = 'live'"
        )
        return {id: (start, count) for id, start, count in self._all(query, ids)}

    def all_records(self) -> list[Record]:
        """Return every live chunk, in the order of documents and offsets."""
        query = f"SELECT {_COLUMNS} FROM chunks WHERE state = 'live' ORDER BY document, start"
        return [_record(row) for row in self._all(query)]

    def counts(self) -> tuple[int, int]:
        """Return how many documents and how many live chunks there are."""
        documents = self._all("SELECT count(*) FROM documents")[0][0]
        chunks = self._all("SELECT count(*) FROM chunks WHERE state = 'live'")[0][0]
        return int(documents), int(chunks)

    def vectors_end(self) -> int:
        """Return one past the last row of the token file that a chunk refers to."""
        rows = self._all("SELECT max(vector_start + vector_count) FROM chunks")
        return int(rows[0][0] or 0)

    def content_hash(self) -> str:
        """Return a hash of the ids of all live chunks."""
        query = "SELECT id FROM chunks WHERE state = 'live' ORDER BY id"
        return content_hash(*(id for (id,) in self._all(query)))

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _run(self, query: str, values: Sequence[object] = ()) -> None:
        with self._lock:
            self._connection.execute(query, values)

    def _all(self, query: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock:
            return self._connection.execute(query, tuple(values)).fetchall()


_COLUMNS = "id, document, start, end, text, metadata, tokens, vector_start, vector_count"


def _record(row: tuple) -> Record:  # type: ignore[type-arg]
    _, document, start, end, text, metadata, tokens, vector_start, vector_count = row
    chunk = Chunk(document, start, end, text, json.loads(metadata))
    return Record(chunk, tokens, vector_start, vector_count)
