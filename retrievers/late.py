"""Token vectors on disk, 4 bits per dimension, and MaxSim over them.

Written at ingest from the embedding pass, memory-mapped at query time, never encoded again. Each
vector is rotated by a random orthogonal matrix, which makes its coordinates nearly Gaussian, and
each coordinate is rounded to one of 16 levels. Knows rows of numbers, not chunks or texts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrievers.embedding import Floats
from retrievers.errors import IndexFault

Codes = NDArray[np.uint8]

LEVELS = 16
STEP = 0.335
"""Spacing of the levels, in standard deviations: the optimum for a uniform 16-level quantizer of
a Gaussian (Max, Quantizing for minimum distortion, 1960, table II)."""


class TokenVectors:
    """The token vectors of an index: rows of one file, two dimensions to a byte.

    Args:
        folder: Where `tokens.bin` and `rotation.npy` lie.
        dimension: Length d of a vector; even.

    Raises:
        IndexFault: The files are missing or do not fit the dimension.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self._path = folder / "tokens.bin"
        self._dimension = dimension
        self._rotation = _load_rotation(folder / "rotation.npy", dimension)
        self._codes = self._mapped()

    @classmethod
    def create(cls, folder: Path, dimension: int, *, seed: int = 0) -> TokenVectors:
        """Make the empty files. The rotation is stored: two machines need not draw the same."""
        folder.mkdir(parents=True, exist_ok=True)
        drawn = np.random.default_rng(seed).standard_normal((dimension, dimension))
        np.save(folder / "rotation.npy", np.linalg.qr(drawn)[0].astype(np.float32))
        (folder / "tokens.bin").touch()
        return cls(folder, dimension)

    def write(self, start: int, vectors: Sequence[Floats]) -> list[tuple[int, int]]:
        """Write texts' token vectors from row `start` on; return each text's (start, count).

        The rows are on disk when this returns. Rows past `start` that a crash left behind are
        overwritten.
        """
        codes = [quantize(rows @ self._rotation) for rows in vectors]
        with self._path.open("r+b") as file:
            file.seek(start * self._dimension // 2)
            file.writelines(code.tobytes() for code in codes)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        counts = [len(code) for code in codes]
        ends = accumulate(counts, initial=start)
        return list(zip(ends, counts, strict=False))

    def reload(self) -> None:
        """See what was written since the file was mapped."""
        self._codes = self._mapped()

    def maxsim(self, query: Floats, spans: Sequence[tuple[int, int]]) -> Floats:
        """Score passages against a question.

        Args:
            query: The question's token vectors, shape (t, d).
            spans: (start, count) of each passage's rows.

        Returns:
            Shape (len(spans),): the mean over the question's tokens of the best cosine with a
            token of the passage (Khattab and Zaharia, ColBERT, SIGIR 2020, averaged); 0 for a
            passage without tokens.
        """
        scores = np.zeros(len(spans), dtype=np.float32)
        filled = [index for index, (_, count) in enumerate(spans) if count]
        if not filled or not len(query):
            return scores
        rows = [self._codes[start : start + count] for start, count in (spans[i] for i in filled)]
        similar = _cosines(np.concatenate(rows), query @ self._rotation)
        starts = np.cumsum([0, *(len(row) for row in rows[:-1])])
        scores[filled] = np.maximum.reduceat(similar, starts, axis=0).mean(axis=1)
        return scores

    def _mapped(self) -> Codes:
        width = self._dimension // 2
        try:
            size = self._path.stat().st_size // width
        except OSError as error:
            raise IndexFault(
                f"The token vectors {str(self._path)!r} are missing.", hint="Build the index again."
            ) from error
        if not size:
            return np.zeros((0, width), dtype=np.uint8)
        return np.memmap(self._path, dtype=np.uint8, mode="r", shape=(size, width))


def quantize(rotated: Floats) -> Codes:
    """Round rotated unit vectors, shape (t, d), to codes of shape (t, d / 2)."""
    scaled = rotated * (np.sqrt(rotated.shape[1]) / STEP)
    levels = np.clip(np.floor(scaled) + LEVELS // 2, 0, LEVELS - 1).astype(np.uint8)
    return np.asarray(levels[:, 0::2] << 4 | levels[:, 1::2])


def _cosines(codes: Codes, rotated: Floats) -> Floats:
    """Multiply coded rows, shape (n, d / 2), by rotated question vectors (t, d); return (n, t).

    A level l stands for (l - 7.5) * STEP / sqrt(d), so the levels themselves can be multiplied and
    the shift taken off afterwards: that spares decoding every row.
    """
    even, odd = rotated[:, 0::2].T, rotated[:, 1::2].T
    products = (codes >> 4).astype(np.float32) @ even + (codes & 15).astype(np.float32) @ odd
    shift = np.float32((LEVELS - 1) / 2) * rotated.sum(axis=1)
    return np.asarray((products - shift) * np.float32(STEP / np.sqrt(rotated.shape[1])))


def _load_rotation(path: Path, dimension: int) -> Floats:
    try:
        rotation: Floats = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise IndexFault(
            f"The rotation {str(path)!r} cannot be read: {error}.", hint="Build the index again."
        ) from error
    if rotation.shape != (dimension, dimension):
        raise IndexFault(f"{str(path)!r} has shape {rotation.shape}, expected d = {dimension}.")
    return rotation
