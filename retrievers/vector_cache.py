"""The file of computed vectors: keeps vectors and token codes by key.

Knows neither embedders nor texts: a key is both.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ragwright.retrievers.cache_file import CacheFile
from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.token_codes import draw_rotation

_SUM = 4
"""Bytes of a checksum."""
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
            kept = None if found is None else _unpacked(str(dimension), found[0], None)
            if kept is not None:
                return kept.reshape(dimension, dimension)
            drawn = draw_rotation(dimension)
            # Codes that were made with one that cannot be read are of no use with another.
            connection.execute("DELETE FROM vectors WHERE codes IS NOT NULL")
            values = (dimension, _packed(str(dimension), drawn, None))
            connection.execute("INSERT OR REPLACE INTO rotations VALUES (?, ?)", values)
            return drawn

    def get(self, keys: Sequence[str]) -> dict[str, CachedVectors]:
        """Return what is there of these keys, and whole.

        Raises:
            ModelError: The file cannot be read.
        """
        found: dict[str, CachedVectors] = {}
        with self._open() as connection:
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, vector, codes FROM vectors WHERE key IN ({marks})"
                for key, packed, codes in connection.execute(query, part):
                    if (vector := _unpacked(key, packed, codes)) is not None:
                        found[key] = CachedVectors(vector, codes)
            self._touch(found)
        return found

    def put(self, entries: Iterable[tuple[str, CachedVectors]]) -> None:
        """Keep entries, and drop what was not used for longest if there are too many.

        Raises:
            ModelError: The file cannot be written: the disk is full, for example.
        """
        rows = [
            (key, _packed(key, one.vector, one.codes), one.codes, self._run) for key, one in entries
        ]
        with self._open() as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
            self._shrink()


def _packed(key: str, vector: Floats, codes: bytes | None) -> bytes:
    """Return a vector as it is kept: its numbers, and a checksum of all that is kept for the key.

    SQLite notices damage of its own pages' order, and none of what stands in them.
    """
    numbers = vector.tobytes()
    return numbers + _checksum(key, numbers, codes)


def _unpacked(key: str, packed: object, codes: object) -> Floats | None:
    """Return a vector that was kept; None if it is damaged, or older than checksums are."""
    if not isinstance(packed, bytes) or not isinstance(codes, bytes | None):
        return None
    numbers, told = packed[:-_SUM], packed[-_SUM:]
    if told != _checksum(key, numbers, codes):
        return None
    return np.frombuffer(numbers, dtype=np.float32)


def _checksum(key: str, numbers: bytes, codes: bytes | None) -> bytes:
    known = zlib.crc32(numbers, zlib.crc32(key.encode("utf-8", "replace")))
    known = known if codes is None else zlib.crc32(codes, zlib.crc32(b"codes", known))
    return known.to_bytes(_SUM, "little")
