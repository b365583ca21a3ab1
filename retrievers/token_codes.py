"""Quantizes token vectors to a few bits, and multiplies questions with them.

A rotated unit vector's coordinates are nearly Gaussian; each is rounded to one of 2, 4 or 16
levels. The borders between the levels of fewer bits are borders of 4 bits too, so that vectors
which were kept in 4 bits (in the cache) give the same codes as those that never were. Vectors of a
passage that are alike can be pooled first. Knows rows of numbers, not files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.settings import Settings

Codes = NDArray[np.uint8]
Bits = Literal[1, 2, 4]

STEP = 0.335
"""Spacing of the 16 levels, in standard deviations: the optimum for a uniform 16-level quantizer of
a Gaussian (Max, Quantizing for minimum distortion, 1960, table II)."""
_BORDERS: dict[int, float] = {1: 1.0, 2: 3 * STEP, 4: STEP}
"""Between borders, in standard deviations. The optimum for four levels is 0.996; two have one
border, which is 0."""
_SPACING: dict[int, float] = {1: 2.507, 2: 1.1358, 4: STEP}
"""Between levels, in standard deviations. For 1 and 2 bits so that the product of a vector with
what its code stands for is 1, as J. Gao and C. Long have it (RaBitQ, SIGMOD 2024): the scores of
an index of fewer bits are then on the scale of one of 4. The product of a Gaussian x with levels
-s/2 and s/2 is s * 0.3989; with four levels at borders of 1.005 it is s * 0.8805."""
_ONE_THREAD = 250_000
"""Multiplications up to this size OpenBLAS does in the calling thread. Others that it wakes go on
spinning for some 10 ms after a product of microseconds, and take a core from other questions for
that time; small blocks also stay in the cache."""
_DECODED = 1 << 17
"""Levels that are decoded at a time, for many products: half a megabyte stays in the cache, and
NumPy is called less often."""
_COLUMNS = 32
"""Of a block that is rotated. Blocks of nearly equal sides are multiplied two to three times faster
than the few columns that long passages left room for."""
_ROUNDS = 4


class TokenSettings(Settings):
    """How an index keeps token vectors: one byte takes 8 / `bits` coordinates.

    Attributes:
        bits: Of a coordinate.
        pool: Vectors of a passage that become one, on average; 1 keeps each.
    """

    bits: Bits = 4
    pool: int = Field(default=1, ge=1, le=16)


FOUR_BITS = TokenSettings()
"""What indexes have that say nothing of it."""


@dataclass(frozen=True, eq=False)
class CodedRows(Sequence[Floats]):
    """Texts' token vectors as the cache keeps them, decoded only where they are asked for.

    Attributes:
        codes: Of each text, 4 bits a coordinate, shape (t, d / 2).
        rotation: What was multiplied with before, shape (d, d).
    """

    codes: Sequence[Codes]
    rotation: Floats

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, place: int) -> Floats: ...

    @overload
    def __getitem__(self, place: slice) -> CodedRows: ...

    def __getitem__(self, place: int | slice) -> Floats | CodedRows:
        if isinstance(place, slice):
            return CodedRows(self.codes[place], self.rotation)
        return rotate_vectors(dequantize(self.codes[place]), self.rotation.T)


def encode_token_vectors(
    texts: Sequence[Floats], rotation: Floats, settings: TokenSettings = FOUR_BITS
) -> list[Codes]:
    """Return the codes of texts' token vectors, each of shape (t, d), as an index keeps them.

    Those that are pooled are rounded to 4 bits first, as the cache keeps them: they become the
    same rows with and without it. What comes out of the cache under the same rotation is neither
    turned back nor turned again.
    """
    if isinstance(texts, CodedRows) and np.array_equal(texts.rotation, rotation):
        return [_recoded(codes, settings) for codes in texts.codes]
    turned = (rotate_vectors(rows, rotation) for rows in texts)
    if settings.pool == 1:
        return [quantize(rows, settings.bits) for rows in turned]
    return [_recoded(quantize(rows), settings) for rows in turned]


def _recoded(codes: Codes, settings: TokenSettings) -> Codes:
    """Codes of 4 bits, pooled and in as many bits as the settings say."""
    if settings == FOUR_BITS:
        return codes
    return quantize(pool_token_vectors(dequantize(codes), settings.pool), settings.bits)


def quantize(rotated: Floats, bits: int = 4) -> Codes:
    """Round rotated unit vectors, shape (t, d), to codes of shape (t, d * bits / 8)."""
    levels, each = 1 << bits, 8 // bits
    scaled = rotated * (np.sqrt(rotated.shape[1]) / _BORDERS[bits])
    found = np.clip(np.floor(scaled) + levels // 2, 0, levels - 1).astype(np.uint8)
    codes = found[:, 0::each]
    for place in range(1, each):
        codes = codes << bits | found[:, place::each]
    return np.asarray(codes)


def dequantize(codes: Codes, bits: int = 4) -> Floats:
    """Return the rotated vectors, shape (t, d), that codes of shape (t, d * bits / 8) stand for.

    Quantizing them again gives the same codes.
    """
    each = 8 // bits
    found = np.empty((len(codes), codes.shape[1] * each), dtype=np.float32)
    for place in range(each):
        found[:, place::each] = _levels(codes, place, bits)
    scale = np.float32(_SPACING[bits] / np.sqrt(found.shape[1]))
    return np.asarray((found - np.float32(((1 << bits) - 1) / 2)) * scale)


def pool_token_vectors(rows: Floats, factor: int) -> Floats:
    """Make one vector of those that are alike: means of clusters, shape (ceil(t / factor), d).

    B. Clavié, A. Chaffin and G. Adams, Reducing the Footprint of Multi-Vector Retrieval with
    Minimal Performance Impact via Token Pooling, 2024 (https://arxiv.org/abs/2409.14683), by
    k-means on the sphere. It begins with vectors at equal distances in the text: the same rows
    give the same clusters.

    Args:
        rows: Unit vectors, shape (t, d).
        factor: How many become one, on average.
    """
    if factor == 1 or len(rows) < 2:
        return rows
    centres = rows[::factor]
    for _ in range(_ROUNDS):
        nearest = (rows @ centres.T).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, rows)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    return np.asarray(centres, dtype=np.float32)


def draw_rotation(dimension: int) -> Floats:
    """Draw a random orthogonal matrix, shape (d, d); the same each time."""
    drawn = np.random.default_rng(0).standard_normal((dimension, dimension))
    return np.asarray(np.linalg.qr(drawn)[0], dtype=np.float32)


def rotate_vectors(query: Floats, rotation: Floats) -> Floats:
    """Multiply vectors, shape (t, d), by the rotation, block by block."""
    rotated = np.empty_like(query)
    rows = max(1, _ONE_THREAD // (len(rotation) * _COLUMNS))
    for left in range(0, rotation.shape[1], _COLUMNS):
        columns = slice(left, left + _COLUMNS)
        part = np.ascontiguousarray(rotation[:, columns])
        for top in range(0, len(query), rows):
            rotated[top : top + rows, columns] = query[top : top + rows] @ part
    return rotated


def token_cosines(codes: Codes, rotated: Floats, bits: int = 4) -> Floats:
    """Multiply coded rows, shape (n, d * bits / 8), by rotated question vectors (t, d).

    A level l stands for (l - (levels - 1) / 2) * spacing / sqrt(d), so the levels themselves can be
    multiplied and the shift taken off afterwards: that spares decoding every row.

    Returns:
        Shape (n, t).
    """
    each = 8 // bits
    parts = [np.ascontiguousarray(rotated[:, place::each].T) for place in range(each)]
    products = np.empty((len(codes), len(rotated)), dtype=np.float32)
    size = max(16, _ONE_THREAD // max(1, parts[0].size))
    rows = size * max(1, _DECODED // (size * codes.shape[1]))
    for start in range(0, len(codes), rows):
        block, total = codes[start : start + rows], products[start : start + rows]
        _multiply(_levels(block, 0, bits), parts[0], total, size)
        for place, part in enumerate(parts[1:], start=1):
            found = np.empty_like(total)
            _multiply(_levels(block, place, bits), part, found, size)
            total += found
    shift = np.float32(((1 << bits) - 1) / 2) * rotated.sum(axis=1)
    scale = np.float32(_SPACING[bits] / np.sqrt(rotated.shape[1]))
    return np.asarray((products - shift) * scale)


def _multiply(levels: Codes, part: Floats, out: Floats, size: int) -> None:
    """Multiply rows by a matrix, so many rows in one product of BLAS, all in one call of NumPy."""
    left, whole = levels.astype(np.float32), len(levels) // size * size
    stacked = (-1, size, left.shape[1]), (-1, size, out.shape[1])
    if whole:
        np.matmul(left[:whole].reshape(stacked[0]), part, out=out[:whole].reshape(stacked[1]))
    np.matmul(left[whole:], part, out=out[whole:])


def _levels(codes: Codes, place: int, bits: int) -> Codes:
    """Return one coordinate of each byte, the first of which stands in its highest bits."""
    left = 8 - bits * (place + 1)
    shifted = codes >> np.uint8(left) if left else codes
    return shifted if place == 0 else shifted & np.uint8((1 << bits) - 1)
