"""Vectors that were computed before, by the identity of their embedder and the text they are of.

One SQLite file in the user's cache folder serves every index on the machine: a wiped index, or
another chunk size for the same documents, embeds only what was never embedded. Token vectors are
kept as an index keeps them, in 4 bits a dimension. The file may be deleted at any time.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retrievers.embedding import Embedder, EmbedderIdentity, Encoded, Floats
from retrievers.embedding.files import cache_folder
from retrievers.errors import InputError, ModelError
from retrievers.late import dequantize, draw_rotation, quantize
from retrievers.types import content_hash

DEFAULT_GIB = 4.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    key TEXT PRIMARY KEY, vector BLOB NOT NULL, codes BLOB, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS vectors_by_use ON vectors (used);
CREATE TABLE IF NOT EXISTS rotations (dimension INTEGER PRIMARY KEY, rotation BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS runs (number INTEGER PRIMARY KEY AUTOINCREMENT);
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
        path.parent.mkdir(parents=True, exist_ok=True)
        self._limit = limit
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, timeout=60)
            self._connection.execute("PRAGMA page_size=16384")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            with self._connection:
                self._connection.executescript(_SCHEMA)
                cursor = self._connection.execute("INSERT INTO runs DEFAULT VALUES")
                self._run = int(cursor.lastrowid or 0)
        except sqlite3.DatabaseError as error:
            raise self._fault(error) from error

    def rotation(self, dimension: int) -> Floats:
        """Return the rotation that codes of this dimension are made with, shape (d, d)."""
        with self._lock, self._connection:
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
        """Return what is there of these keys."""
        found: dict[str, Cached] = {}
        with self._lock, self._connection:
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
        try:
            with self._lock, self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows
                )
                self._shrink()
        except sqlite3.DatabaseError as error:
            raise self._fault(error) from error

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

    def _fault(self, error: sqlite3.DatabaseError) -> ModelError:
        return ModelError(
            f"The cache of vectors {str(self._path)!r} cannot be used: {error}.",
            hint="Delete it, make room on its disk, or set RAGWRIGHT_CACHE_GIB=0 to do without.",
        )


class CachedEmbedder:
    """An embedder that computes only what the cache does not hold.

    Args:
        embedder: What computes.
        cache: Where its results are kept; None to keep nothing.
    """

    def __init__(self, embedder: Embedder, cache: VectorCache | None) -> None:
        self._embedder = embedder
        self._cache = cache
        self._lock = threading.Lock()
        self.computed = 0

    @property
    def identity(self) -> EmbedderIdentity:
        return self._embedder.identity

    @property
    def engine(self) -> str:
        return self._embedder.engine

    @property
    def token_vectors(self) -> bool:
        return self._embedder.token_vectors

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> Encoded:
        """Embed texts, in order; equal ones once. `computed` counts those that were not cached.

        Token vectors come back as an index would read them, rounded to 4 bits a dimension,
        whether cached or not: so an index made twice is the same twice.
        """
        tokens = tokens and self.token_vectors
        if self._cache is None:
            return self._counted(texts, tokens=tokens)
        return self._through(self._cache, texts, tokens=tokens)

    def _through(self, cache: VectorCache, texts: Sequence[str], *, tokens: bool) -> Encoded:
        identity = self.identity
        prefix = content_hash(identity.model, identity.revision, str(identity.dimension))
        keys = [content_hash(prefix, text) for text in texts]
        found = {
            key: one
            for key, one in cache.get(list(dict.fromkeys(keys))).items()
            if one.codes is not None or not tokens
        }
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            encoded = self._counted(list(missing.values()), tokens=tokens)
            fresh = dict(zip(missing, self._entries(cache, encoded), strict=True))
            cache.put(fresh.items())
            found |= fresh
        return self._assembled(cache, [found[key] for key in keys], tokens=tokens)

    def _counted(self, texts: Sequence[str], *, tokens: bool) -> Encoded:
        encoded = self._embedder.encode(texts, tokens=tokens)
        with self._lock:
            self.computed += len(texts)
        return encoded

    def _entries(self, cache: VectorCache, encoded: Encoded) -> Iterator[Cached]:
        codes: Sequence[bytes | None] = [None] * len(encoded.vectors)
        if encoded.tokens is not None:
            rotation = cache.rotation(self.identity.dimension)
            codes = [quantize(rows @ rotation).tobytes() for rows in encoded.tokens]
        return (Cached(*pair) for pair in zip(encoded.vectors, codes, strict=True))

    def _assembled(self, cache: VectorCache, found: Sequence[Cached], *, tokens: bool) -> Encoded:
        dimension = self.identity.dimension
        empty = np.zeros((0, dimension), dtype=np.float32)
        vectors = np.stack([one.vector for one in found]) if found else empty
        if not tokens:
            return Encoded(vectors)
        back = cache.rotation(dimension).T
        rows = (
            np.frombuffer(one.codes or b"", dtype=np.uint8).reshape(-1, dimension // 2)
            for one in found
        )
        return Encoded(vectors, tuple(dequantize(codes) @ back for codes in rows))


_LOCK = threading.Lock()
_OPEN: dict[Path, VectorCache] = {}


def with_cache(embedder: Embedder) -> CachedEmbedder:
    """Return the embedder behind the user's cache, or behind none where it gains nothing.

    `RAGWRIGHT_CACHE` names the folder, `RAGWRIGHT_CACHE_GIB` how much the cache may fill there
    (4 by default); 0 turns it off. An odd dimension and the hash embedder are not cached.

    Raises:
        InputError: `RAGWRIGHT_CACHE_GIB` is not a number.
        ModelError: The file is damaged.
    """
    limit = int(_gib() * 2**30)
    identity = embedder.identity
    if limit <= 0 or identity.model == "hash" or identity.dimension % 2:
        return CachedEmbedder(embedder, None)
    path = cache_folder() / "vectors.sqlite"
    with _LOCK:
        if path not in _OPEN:
            _OPEN[path] = VectorCache(path, limit=limit)
        return CachedEmbedder(embedder, _OPEN[path])


def _gib() -> float:
    value = os.environ.get("RAGWRIGHT_CACHE_GIB", "")
    try:
        return float(value) if value else DEFAULT_GIB
    except ValueError as error:
        raise InputError(
            f"RAGWRIGHT_CACHE_GIB is {value!r}, not a number.", hint="Set it to 4, or to 0."
        ) from error
