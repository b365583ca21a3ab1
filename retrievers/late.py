"""Token vectors on disk, 4 bits per dimension, and MaxSim over them.

Written at ingest from the embedding pass, memory-mapped at query time, never encoded again. Each
vector is rotated by a random orthogonal matrix, which makes its coordinates nearly Gaussian, and
each coordinate is rounded to one of 16 levels. Knows rows of numbers, not chunks or texts.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault

Codes = NDArray[np.uint8]

LEVELS = 16
STEP = 0.335
"""Spacing of the levels, in standard deviations: the optimum for a uniform 16-level quantizer of
a Gaussian (Max, Quantizing for minimum distortion, 1960, table II)."""
_ONE_THREAD = 250_000
"""Multiplications up to this size OpenBLAS does in the calling thread. Others that it wakes go on
spinning for some 10 ms after a product of microseconds, and take a core from other questions for
that time; small blocks also stay in the cache."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a text's token vectors lie: `count` rows from row `start` on, and their CRC-32."""

    start: int = 0
    count: int = 0
    checksum: int = 0


class TokenVectors:
    """The token vectors of an index: rows of one file, two dimensions to a byte.

    The file has a number: compacting writes the next one and leaves this one to its readers.

    Args:
        folder: Where `tokens-0.bin` and `rotation.npy` lie.
        dimension: Length d of a vector; even.

    Raises:
        IndexFault: The rotation is missing or does not fit the dimension.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder = folder
        self._dimension = dimension
        self._rotation = _load_rotation(folder / "rotation.npy", dimension)
        self._map: tuple[int, Codes] = (-1, np.zeros((0, dimension // 2), dtype=np.uint8))

    @classmethod
    def create(cls, folder: Path, dimension: int, *, seed: int = 0) -> TokenVectors:
        """Make the empty files. The rotation is stored: two machines need not draw the same."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "rotation.npy", draw_rotation(dimension, seed=seed))
        made = cls(folder, dimension)
        made.path(0).touch()
        return made

    def path(self, file: int) -> Path:
        """Return where the file of a number lies."""
        return self._folder / f"tokens-{file}.bin"

    def write(self, file: int, start: int, vectors: Sequence[Floats]) -> list[Span]:
        """Write texts' token vectors from row `start` on; return where each text's lie.

        The rows are on disk when this returns. Rows past `start` that a crash left behind are
        overwritten, never cut off: a reader may have them mapped.

        Raises:
            IndexFault: They cannot be written, because the disk is full for example.
        """
        codes = [quantize(rotated(rows, self._rotation)) for rows in vectors]
        starts = accumulate((len(code) for code in codes), initial=start)
        spans = [
            Span(at, len(code), _checksum(code)) for at, code in zip(starts, codes, strict=False)
        ]
        self._write(file, start, codes)
        return spans

    def copy(self, spans: Sequence[Span], *, source: int, target: int, start: int) -> list[Span]:
        """Append rows of one file to another, from row `start` on; return where they lie there."""
        codes = [self._rows(source, span) for span in spans]
        self._write(target, start, codes)
        starts = accumulate((span.count for span in spans), initial=start)
        return [replace(span, start=at) for at, span in zip(starts, spans, strict=False)]

    def require(self, file: int) -> None:
        """Make sure that a file is there.

        Raises:
            IndexFault: It is not.
        """
        if not self.path(file).is_file():
            raise _missing(self.path(file))

    def intact(self, file: int, span: Span) -> bool:
        """Tell whether the rows are there and are those that were written."""
        if not self.path(file).is_file():
            return not span.count
        rows = self._rows(file, span)
        return len(rows) == span.count and _checksum(rows) == span.checksum

    def _write(self, file: int, start: int, codes: Sequence[Codes]) -> None:
        path = self.path(file)
        try:
            with path.open("r+b" if path.exists() else "w+b") as stream:
                stream.seek(start * self._dimension // 2)
                stream.writelines(code.tobytes() for code in codes)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise IndexFault(
                f"The token vectors {str(path)!r} cannot be written: {error.strerror}.",
                hint="Make room on the disk; the ingest goes on where it stopped.",
            ) from error

    def maxsim(self, query: Floats, file: int, spans: Sequence[Span]) -> Floats:
        """Score passages against a question.

        Args:
            query: The question's token vectors, shape (t, d).
            file: The number of the file.
            spans: Where each passage's rows lie in it.

        Returns:
            Shape (len(spans),): the mean over the question's tokens of the best cosine with a
            token of the passage (Khattab and Zaharia, ColBERT, SIGIR 2020, averaged); 0 for a
            passage without tokens.
        """
        scores = np.zeros(len(spans), dtype=np.float32)
        found = [self._rows(file, span) if span.count else None for span in spans]
        filled = [index for index, rows in enumerate(found) if rows is not None and len(rows)]
        if not filled or not len(query):
            return scores
        rows = [rows for rows in found if rows is not None and len(rows)]
        similar = _cosines(np.concatenate(rows), rotated(query, self._rotation))
        starts = np.cumsum([0, *(len(row) for row in rows[:-1])])
        scores[filled] = np.maximum.reduceat(similar, starts, axis=0).mean(axis=1)
        return scores

    def _rows(self, file: int, span: Span) -> Codes:
        end = span.start + span.count
        number, codes = self._map
        if number != file or len(codes) < end:
            codes = self._mapped(file)
            self._map = (file, codes)
        return codes[span.start : end]

    def _mapped(self, file: int) -> Codes:
        path, width = self.path(file), self._dimension // 2
        try:
            size = path.stat().st_size // width
            if not size:
                return np.zeros((0, width), dtype=np.uint8)
            return np.memmap(path, dtype=np.uint8, mode="r", shape=(size, width))
        except OSError as error:
            raise _missing(path) from error


def _checksum(codes: Codes) -> int:
    return zlib.crc32(codes.tobytes())


def _missing(path: Path) -> IndexFault:
    return IndexFault(
        f"The token vectors {str(path)!r} are missing.", hint="Run `rag index repair`."
    )


def quantize(rotated: Floats) -> Codes:
    """Round rotated unit vectors, shape (t, d), to codes of shape (t, d / 2)."""
    scaled = rotated * (np.sqrt(rotated.shape[1]) / STEP)
    levels = np.clip(np.floor(scaled) + LEVELS // 2, 0, LEVELS - 1).astype(np.uint8)
    return np.asarray(levels[:, 0::2] << 4 | levels[:, 1::2])


def dequantize(codes: Codes) -> Floats:
    """Return the rotated vectors, shape (t, d), that codes of shape (t, d / 2) stand for.

    Quantizing them again gives the same codes.
    """
    levels = np.empty((len(codes), codes.shape[1] * 2), dtype=np.float32)
    levels[:, 0::2], levels[:, 1::2] = codes >> 4, codes & 15
    scale = np.float32(STEP / np.sqrt(levels.shape[1]))
    return np.asarray((levels - np.float32((LEVELS - 1) / 2)) * scale)


def draw_rotation(dimension: int, *, seed: int = 0) -> Floats:
    """Draw a random orthogonal matrix, shape (d, d)."""
    drawn = np.random.default_rng(seed).standard_normal((dimension, dimension))
    return np.asarray(np.linalg.qr(drawn)[0], dtype=np.float32)


def rotated(query: Floats, rotation: Floats) -> Floats:
    """Multiply vectors, shape (t, d), by the rotation, some columns at a time."""
    rotated = np.empty_like(query)
    size = max(1, _ONE_THREAD // max(1, query.size))
    for start in range(0, rotation.shape[1], size):
        columns = slice(start, start + size)
        rotated[:, columns] = query @ rotation[:, columns]
    return rotated


def _cosines(codes: Codes, rotated: Floats) -> Floats:
    """Multiply coded rows, shape (n, d / 2), by rotated question vectors (t, d); return (n, t).

    A level l stands for (l - 7.5) * STEP / sqrt(d), so the levels themselves can be multiplied and
    the shift taken off afterwards: that spares decoding every row.
    """
    even, odd = (np.ascontiguousarray(rotated[:, half::2].T) for half in (0, 1))
    products = np.empty((len(codes), len(rotated)), dtype=np.float32)
    size = max(16, _ONE_THREAD // max(1, even.size))
    for start in range(0, len(codes), size):
        block = codes[start : start + size]
        high, low = (block >> 4).astype(np.float32), (block & 15).astype(np.float32)
        products[start : start + size] = high @ even + low @ odd
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
