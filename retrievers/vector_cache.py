"""The file of computed vectors: keeps vectors and token codes by key.

Knows neither embedders nor texts: a key is both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ragwright.retrievers.cache_file import CacheFile
from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.token_codes import draw_rotation

_TABLES = """
CREATE TABLE IF NOT EXISTS vectors (
    key TEXT PRIMARY KEY, vector BLOB NOT NULL, codes BLOB, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS vectors_by_use ON vectors (used);
CREATE TABLE IF NOT EXISTS rotations (dimension INTEGER PRIMARY KEY, rotation BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class CachedVectors:
    """A text's vector, shape (d,), and its token vectors as codes, shape (t, d / 2), if kept."""

    vector: Floats
    codes: bytes | None


class VectorCache(CacheFile):
    """The file.

    Args:
        path: The SQLite file; made if it is missing.
        limit: Bytes that it may fill; what was not used for longest goes first.

    Raises:
        ModelError: The file is damaged.
    """

    def __init__(self, path: Path, *, limit: int) -> None:
        super().__init__(path, "vectors", _TABLES, limit=limit, holds="vectors")

    def rotation(self, dimension: int) -> Floats:
        """Return the rotation that codes of this dimension are made with, shape (d, d).

        Raises:
            ModelError: The file cannot be read.
        """
        with self._open() as connection:
            found = connection.execute(
                "SELECT rotation FROM rotations WHERE dimension = ?", (dimension,)
            ).fetchone()
            if found is None:
                drawn = draw_rotation(dimension)
                values = (dimension, drawn.tobytes())
                connection.execute("INSERT OR IGNORE INTO rotations VALUES (?, ?)", values)
                return drawn
        return np.frombuffer(found[0], dtype=np.float32).reshape(dimension, dimension)

    def get(self, keys: Sequence[str]) -> dict[str, CachedVectors]:
        """Return what is there of these keys.

        Raises:
            ModelError: The file cannot be read.
        """
        found: dict[str, CachedVectors] = {}
        with self._open() as connection:
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, vector, codes FROM vectors WHERE key IN ({marks})"
                for key, vector, codes in connection.execute(query, part):
                    found[key] = CachedVectors(np.frombuffer(vector, dtype=np.float32), codes)
            self._touch(found)
        return found

    def put(self, entries: Iterable[tuple[str, CachedVectors]]) -> None:
        """Keep entries, and drop what was not used for longest if there are too many.

        Raises:
            ModelError: The file cannot be written: the disk is full, for example.
        """
        rows = [(key, one.vector.tobytes(), one.codes, self._run) for key, one in entries]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
            self._shrink()
