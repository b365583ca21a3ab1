"""The ledger's SQLite file: its tables, and numbers that are kept by name.

Says which tables there are and what is committed together. Threads take turns; other processes read
what was committed last. Knows nothing of what a row means.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ragwright.retrievers.database import open_database, what_helps
from ragwright.retrievers.errors import IndexFault

PAGE = 1000
"""How many rows are read at a time."""

_TABLES = """
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
CREATE INDEX IF NOT EXISTS chunks_in_brief ON chunks (
    id, state, tokens, start, end, vector_start, vector_count, vector_sum);
DROP INDEX IF EXISTS chunks_without_text;
"""
"""The last index holds what every query asks of some 200 candidates, so that no text is read. The
one that is dropped, of an older version, did not say how long they are."""
_CACHE_KB = 16_384
"""Of pages: SQLite's own 2 MB do not hold that index for 100,000 chunks."""
_IS_LEDGER = "SELECT value FROM counters LIMIT 1;"


class LedgerFile:
    """An open file. Safe to use from several threads; one process may write.

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
        self._closed = False
        try:
            pragmas = f"PRAGMA journal_mode=WAL; PRAGMA cache_size=-{_CACHE_KB};"
            script = f"{pragmas} {_TABLES if create else ''} {_IS_LEDGER}"
            self._connection = open_database(path, script, timeout=30)
            (mode,) = self._connection.execute("PRAGMA journal_mode").fetchone()
        except sqlite3.DatabaseError as error:
            raise IndexFault(
                f"{str(path)!r} cannot be opened as a ledger: {error}.",
                hint=what_helps(error, "Make sure that the disk has room; or build it again."),
            ) from error

        self._waits_for_writers = mode != "wal"  # some file systems have no room for more

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside, all of it or nothing.

        Raises:
            IndexFault: It cannot be written, because the disk is full for example.
        """
        try:
            with self._lock, self._connection:
                yield
        except sqlite3.IntegrityError:  # a mistake in code, not in the file
            raise
        except sqlite3.Error as error:
            self._require_open(error)
            raise IndexFault(
                f"The ledger {str(self._path)!r} cannot be written: {error}.",
                hint=what_helps(error, "Make room on the disk.")
                + " The next ingest goes on where it stopped.",
            ) from error

    @property
    def generation(self) -> int:
        """Grows with every change that readers can see."""
        return self.counter("generation")

    def generation_at_once(self) -> int | None:
        """Return the generation where that takes no waiting, for an event loop; None if it may."""
        if self._waits_for_writers or not self._lock.acquire(blocking=False):
            return None
        try:
            return self.generation
        finally:
            self._lock.release()

    def bump(self) -> None:
        """Tell readers that something changed."""
        self.set_counter("generation", self.generation + 1)

    def counter(self, name: str) -> int:
        """Return a number kept under a name; 0 at first."""
        rows = self.rows("SELECT value FROM counters WHERE name = ?", (name,))
        return int(rows[0][0]) if rows else 0

    def set_counter(self, name: str, value: int) -> None:
        self.run("INSERT OR REPLACE INTO counters VALUES (?, ?)", (name, value))

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

    def run_many(self, query: str, values: Iterable[Sequence[object]]) -> None:
        """Run a statement for each of these values; inside `transaction` it is part of it."""
        with self._lock:
            self._connection.executemany(query, values)

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        """Return the rows that a query finds, all of them."""
        with self._lock, self._readable():
            return self._connection.execute(query, tuple(values)).fetchall()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._require_open(error)
            raise IndexFault(
                f"The ledger {str(self._path)!r} cannot be read: {error}.",
                hint=what_helps(
                    error, "Check the disk; if the file is damaged, build the index again."
                ),
            ) from error

    def vacuum(self) -> None:
        """Give the room of deleted rows back to the disk.

        Raises:
            IndexFault: It cannot be written: there has to be room for a second file meanwhile.
        """
        with self.transaction():
            self.run("VACUUM")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._connection.close()

    def _require_open(self, error: sqlite3.Error) -> None:
        if self._closed:
            raise IndexFault(
                f"The index {str(self._path.parent)!r} was closed while it was in use.",
                hint="Ask again, which opens it anew; or close it when nothing asks it any longer.",
            ) from error
