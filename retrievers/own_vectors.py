"""The dense vectors of an embedded index once more, in a file of its own that is searched exactly.

A store searches a graph: approximately and, under a filter, slowly. Where few passages are in
question, comparing all of them is faster and misses none. Ids that are not 32 hexadecimal digits
are not kept. Knows ids and vectors; what is in question is for others to say.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.vector_blocks import (
    VectorMatrix,
    append_deletions,
    append_vectors,
    read_blocks,
    read_vectors,
)

Keys = NDArray[np.uint64]
RowNumbers = NDArray[np.int64]

NAME = "vectors.bin"
_AT_ONCE = 2048
"""Rows that are read or written at once: some megabytes."""
_MULTIPLIED = 200_000
"""Numbers that are multiplied at once: they stay in a core's cache, and BLAS starts no threads for
so few. Those wait for each other, on a busy machine several times as long as one takes for all."""


class OwnVectors:
    """The vectors in an index's folder; none where it has no such file. One process may write.

    Args:
        folder: The folder of the index.
        dimension: Length d of a vector.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self.path = folder / NAME
        self.dimension = dimension
        self._read: Snapshot | None = None
        self._end: int | None = None

    @property
    def now(self) -> Snapshot:
        """What the file held when it was read; read again after `reload`."""
        if self._read is None:
            self._read = Snapshot(self.path, self.dimension)
        return self._read

    def __len__(self) -> int:
        return len(self.now.keys)

    def reload(self) -> None:
        """See what was written meanwhile, at the next call."""
        self._read, self._end = None, None

    def append(self, ids: Sequence[str], vectors: Floats) -> None:
        """Add vectors, shape (len(ids), d), or put them in the place of those before; durable.

        Raises:
            IndexFault: They cannot be written, because the disk is full for example.
        """
        kept = [place for place, id in enumerate(ids) if is_chunk_id(id)]
        if kept:
            names = [ids[place] for place in kept]
            self._end = append_vectors(self.path, self._behind(), names, unit(vectors[kept]))
            self._read = None

    def forget(self, ids: Sequence[str]) -> None:
        """Take vectors out; ids that it does not hold are no error.

        Raises:
            IndexFault: It cannot be written.
        """
        known = [id for id in ids if is_chunk_id(id)]
        if known and self.path.exists():
            self._end = append_deletions(self.path, self._behind(), known, self.dimension)
            self._read = None

    def drop(self) -> None:
        """Delete the file: nobody keeps it up any longer."""
        self.path.unlink(missing_ok=True)
        self.reload()

    def compact(self) -> None:
        """Write the file anew without what is gone, in one step; readers keep the old one.

        Raises:
            IndexFault: It cannot be written.
        """
        held, fresh, end = self.now, self.path.with_name(f"{NAME}.new"), 0
        fresh.unlink(missing_ok=True)
        for start in range(0, len(held.keys), _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, len(held.keys)))
            sound = [place for place in some if held.intact(place)]
            end = append_vectors(
                fresh, end, [held.id(place) for place in sound], held.vectors(sound)
            )
        if fresh.exists():
            fresh.replace(self.path)
        self.reload()

    def _behind(self) -> int:
        """Return the row behind what is written."""
        return self.now.end if self._end is None else self._end


class Snapshot:
    """The vectors of a file at one moment, the last of each id.

    Attributes:
        keys: Shape (n,), ascending: `id_as_number` each id.
        end: The row behind the last block.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        found = list(read_blocks(path, dimension))
        self.end = found[-1].end if found else 0
        ids = np.concatenate([np.zeros((0, 16), np.uint8), *(block.ids for block in found)])
        sums = np.concatenate([np.zeros(0, np.uint32), *(block.sums for block in found)])
        rows = np.concatenate([np.zeros(0, np.int64), *(block.rows for block in found)])
        keys = _keys(ids)
        order = np.argsort(keys, kind="stable")
        last = np.append(np.diff(keys[order]) != 0, True)[: len(order)]
        kept = order[last & (rows[order] >= 0)]
        self.keys, self._ids, self._sums, self._rows = keys[kept], ids[kept], sums[kept], rows[kept]
        self._path, self._matrix = path, VectorMatrix(path, dimension, self.end)
        self._sound = np.zeros(len(kept), dtype=np.bool_)

    def id(self, place: int) -> str:
        return str(self._ids[place].tobytes().hex())

    def vectors(self, places: Sequence[int]) -> Floats:
        """Return vectors, shape (len(places), d).

        Raises:
            IndexFault: The file was cut meanwhile.
        """
        if not self._matrix.whole:
            raise IndexFault(f"The vectors {str(self._path)!r} were cut.", hint="Ask again.")
        return np.asarray(self._matrix.rows[self._rows[list(places)]])

    def lacks(self, ids: Sequence[str]) -> list[str]:
        """Return those of these ids whose vector is not there, or is not as it was written."""
        places, there = self._found(np.array([id_as_number(id) for id in ids], dtype=np.uint64))
        pairs = zip(ids, places.tolist(), there.tolist(), strict=True)
        return [id for id, place, held in pairs if not held or not self.intact(place)]

    def damaged(self) -> Iterator[str]:
        """Yield the ids of vectors that are not as they were written.

        They are read in the order of the file, not mapped: all of it would end up in memory.
        """
        order = np.argsort(self._rows)
        rows = self._rows[order]
        for start in range(0, self.end, _AT_ONCE):
            read = read_vectors(self._path, self._matrix.rows.shape[1], start, _AT_ONCE)
            first, last = np.searchsorted(rows, (start, start + _AT_ONCE))
            for place in order[first:last]:
                row = read[self._rows[place] - start :][:1]  # none, if the file was cut meanwhile
                if not len(row) or zlib.crc32(row.data) != self._sums[place]:
                    yield self.id(place)

    def intact(self, place: int) -> bool:
        """Tell whether a vector is as it was written; looked at once."""
        if not self._matrix.whole:
            return False
        if not self._sound[place]:
            row = self._matrix.rows[self._rows[place]]
            self._sound[place] = zlib.crc32(row.tobytes()) == self._sums[place]
        return bool(self._sound[place])

    def nearest(self, query: Floats, n: int, keys: Keys | None = None) -> dict[str, float] | None:
        """Return the n ids of the highest cosines to `query`, shape (d,), best first.

        Args:
            query: What is looked for.
            n: How many.
            keys: Among which; None for all.

        Returns:
            Of equal cosines the lowest id is first. None if a vector is missing or damaged, or the
            file was cut.
        """
        places, there = np.arange(len(self.keys)), np.ones(1, dtype=np.bool_)
        if keys is not None:
            places, there = self._found(keys)
        unseen = places[~self._sound[places]] if there.all() else ()
        whole = self._matrix.whole and there.all()
        if not whole or not all(self.intact(place) for place in unseen):
            return None
        cosines = self._cosines(self._rows[places], unit(query[None])[0])
        best = _best(cosines, self.keys[places], n)
        return {self.id(places[at]): float(cosines[at]) for at in best}

    def _cosines(self, rows: RowNumbers, query: Floats) -> Floats:
        found, size = np.empty(len(rows), dtype=np.float32), max(1, _MULTIPLIED // len(query))
        for start in range(0, len(rows), size):
            some = slice(start, start + size)
            found[some] = self._matrix.rows[rows[some]] @ query
        return found

    def _found(self, keys: Keys) -> tuple[RowNumbers, NDArray[np.bool_]]:
        """Return where each key is, and whether it is there at all."""
        if not len(self.keys):
            return np.zeros(len(keys), dtype=np.int64), np.zeros(len(keys), dtype=np.bool_)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return places, self.keys[places] == keys


def id_as_number(id: str) -> int:
    """Return the number, of 64 bits, that stands for an id: the first half of a chunk's."""
    if is_chunk_id(id):
        return int(id[:16], 16)
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest())


def is_chunk_id(id: str) -> bool:
    """Tell whether an id is one of ours: 32 hexadecimal digits."""
    return len(id) == 32 and _DIGITS.issuperset(id)


_DIGITS = frozenset("0123456789abcdef")


def unit(vectors: Floats) -> Floats:
    """Return vectors, shape (n, d), at length 1; those without a length stay as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _best(cosines: Floats, keys: Keys, n: int) -> RowNumbers:
    """Return where the n highest are, best first; of equal ones the lowest key is first."""
    near = np.arange(len(cosines))
    if len(cosines) > n > 0:
        least = np.partition(cosines, len(cosines) - n)[len(cosines) - n]
        near = np.flatnonzero(cosines >= least)
    return near[np.lexsort((keys[near], -cosines[near]))][: max(0, n)]


def _keys(ids: NDArray[np.uint8]) -> Keys:
    return np.ascontiguousarray(ids[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
