"""The file of computed vectors: keys in, vectors and token codes out.

One SQLite file for every index on the machine. When it outgrows its limit, what was not used for
longest goes; it may be deleted at any time. Knows neither embedders nor texts: a key is both.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ragwright.retrievers.database import open_database
from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import ModelError
from ragwright.retrievers.token_codes import draw_rotation

_SCHEMA = """
PRAGMA page_size = 16384;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS vectors (
    key TEXT PRIMARY KEY, vector BLOB NOT NULL, codes BLOB, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS vectors_by_use ON vectors (used);
CREATE TABLE IF NOT EXISTS rotations (dimension INTEGER PRIMARY KEY, rotation BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS runs (number INTEGER PRIMARY KEY AUTOINCREMENT);
INSERT INTO runs DEFAULT VALUES;
"""


@dataclass(frozen=True, slots=True)
class Cached:
    """A text's vector, shape (d,), and its token vectors as codes, shape (t, d / 2), if kept."""

    vector: Floats
    codes: bytes | None


class VectorCache:
    """The file. Safe to use from several threads and processes.

    Args:
        path: The SQLite file; made if it is missing.
        limit: Bytes that it may fill; what was not used for longest goes first.

    Raises:
        ModelError: The file is damaged.
    """

    def __init__(self, path: Path, *, limit: int) -> None:
        self._limit = limit
        self._path = path
        self._lock = threading.Lock()
        with self._faults():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = open_database(path, _SCHEMA, timeout=60)
            self._run = int(self._connection.execute("SELECT last_insert_rowid()").fetchone()[0])

    def rotation(self, dimension: int) -> Floats:
        """Return the rotation that codes of this dimension are made with, shape (d, d).

        Raises:
            ModelError: The file cannot be read.
        """
        with self._faults(), self._lock, self._connection:
            found = self._connection.execute(
                "SELECT rotation FROM rotations WHERE dimension = ?", (dimension,)
            ).fetchone()
            if found is None:
                drawn = draw_rotation(dimension)
                values = (dimension, drawn.tobytes())
                self._connection.execute("INSERT OR IGNORE INTO rotations VALUES (?, ?)", values)
                return drawn
        return np.frombuffer(found[0], dtype=np.float32).reshape(dimension, dimension)

    def get(self, keys: Sequence[str]) -> dict[str, Cached]:
        """Return what is there of these keys.

        Raises:
            ModelError: The file cannot be read.
        """
        found: dict[str, Cached] = {}
        with self._faults(), self._lock, self._connection:
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, vector, codes FROM vectors WHERE key IN ({marks})"
                for key, vector, codes in self._connection.execute(query, part):
                    found[key] = Cached(np.frombuffer(vector, dtype=np.float32), codes)
            stale = ((self._run, key, self._run) for key in found)
            self._connection.executemany(
                "UPDATE vectors SET used = ? WHERE key = ? AND used != ?", stale
            )
        return found

    def put(self, entries: Iterable[tuple[str, Cached]]) -> None:
        """Keep entries, and drop what was not used for longest if there are too many.

        Raises:
            ModelError: The file cannot be written: the disk is full, for example.
        """
        rows = [(key, one.vector.tobytes(), one.codes, self._run) for key, one in entries]
        with self._faults(), self._lock, self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
            self._shrink()

    def bytes_used(self) -> int:
        """Return how much of the file is filled."""
        pages, free, size = (
            int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _shrink(self) -> None:
        while self.bytes_used() > self._limit:
            gone = self._connection.execute(
                "DELETE FROM vectors WHERE key IN "
                "(SELECT key FROM vectors ORDER BY used LIMIT max(1, "
                "(SELECT count(*) FROM vectors) / 10))"
            )
            if not gone.rowcount:
                return

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ModelError(
                f"The cache of vectors {str(self._path)!r} cannot be used: {error}.",
                hint="Delete it, make room on its disk, or set RAGWRIGHT_CACHE_GIB=0.",
            ) from error
