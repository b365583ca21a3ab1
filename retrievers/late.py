"""Token vectors on disk, few bits per dimension, and MaxSim over them.

Written at ingest from the embedding pass, memory-mapped at query time, never encoded again. Each
vector is rotated by a random orthogonal matrix, which makes its coordinates nearly Gaussian, and
each coordinate is rounded (`token_codes.py`). Knows rows of numbers, not chunks or texts.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.token_codes import (
    FOUR_BITS,
    Codes,
    TokenSettings,
    draw_rotation,
    encode_token_vectors,
    rotate_vectors,
    token_cosines,
)

_MOST_KNOWN = 200_000
"""Passages whose rows need not be compared with their checksum again: some 30 MB."""


@dataclass(frozen=True, slots=True)
class VectorSpan:
    """Where a text's token vectors lie: `count` rows from row `start` on, and their CRC-32."""

    start: int = 0
    count: int = 0
    checksum: int = 0


@dataclass(frozen=True, slots=True)
class TokenCodes:
    """Vectors of n texts as an index keeps them.

    Attributes:
        vectors: Shape (n, d).
        tokens: The codes of each text's token vectors; None if it has none.
    """

    vectors: Floats
    tokens: Sequence[Codes] | None = None

    def __getitem__(self, part: slice) -> TokenCodes:
        return TokenCodes(self.vectors[part], None if self.tokens is None else self.tokens[part])


class TokenVectors:
    """The token vectors of an index: rows of one file, 8 / bits dimensions to a byte.

    The file has a number: compacting writes the next one and leaves this one to its readers.

    Args:
        folder: Where `tokens-0.bin` and `rotation.npy` lie.
        dimension: Length d of a vector; bits and dimensions fill whole bytes.
        settings: Bits of a dimension, and how many vectors become one.

    Attributes:
        rotation: What vectors are multiplied with, shape (d, d).

    Raises:
        IndexFault: The rotation is missing or does not fit the dimension.
    """

    def __init__(self, folder: Path, dimension: int, settings: TokenSettings = FOUR_BITS) -> None:
        self._folder = folder
        self._width = dimension * settings.bits // 8
        self._settings = settings
        self.rotation = _load_rotation(folder / "rotation.npy", dimension)
        self._map: tuple[int, Codes] = (-1, np.zeros((0, self._width), dtype=np.uint8))
        self._sound: set[tuple[int, int, int]] = set()

    @classmethod
    def create(
        cls,
        folder: Path,
        dimension: int,
        settings: TokenSettings = FOUR_BITS,
    ) -> TokenVectors:
        """Make the empty files. The rotation is stored: two machines need not draw the same.

        Raises:
            InputError: A vector does not fill whole bytes.
        """
        if dimension * settings.bits % 8:
            raise InputError(
                f"Vectors of {dimension} dimensions at {settings.bits} bits fill no whole bytes.",
                hint="Take more bits for token vectors.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "rotation.npy", draw_rotation(dimension))
        made = cls(folder, dimension, settings)
        made.path(0).touch()
        return made

    def path(self, file: int) -> Path:
        """Return where the file of a number lies."""
        return self._folder / f"tokens-{file}.bin"

    def coded(self, vectors: Sequence[Floats]) -> list[Codes]:
        """Return texts' token vectors, each of shape (t, d), as `write` takes them."""
        return encode_token_vectors(vectors, self.rotation, self._settings)

    def write(self, file: int, start: int, codes: Sequence[Codes]) -> list[VectorSpan]:
        """Write texts' token vectors from row `start` on; return where each text's lie.

        The rows are on disk when this returns. Rows past `start` that a crash left behind are
        overwritten, never cut off: a reader may have them mapped.

        Raises:
            IndexFault: They cannot be written, because the disk is full for example.
        """
        starts = accumulate((len(code) for code in codes), initial=start)
        spans = [
            VectorSpan(at, len(code), _checksum(code))
            for at, code in zip(starts, codes, strict=False)
        ]
        self._write(file, start, codes)
        return spans

    def copy(
        self, spans: Sequence[VectorSpan], *, source: int, target: int, start: int
    ) -> list[VectorSpan]:
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

    def intact(self, file: int, spans: Sequence[VectorSpan]) -> list[bool]:
        """Tell of each span whether its rows are there and are those that were written.

        They are read, not mapped: in the end all of a mapped file would lie in memory.

        Raises:
            IndexFault: The file cannot be read.
        """
        try:
            with self.path(file).open("rb") as stream:
                return [self._as_written(stream, span) for span in spans]
        except FileNotFoundError:
            return [not span.count for span in spans]
        except OSError as error:
            raise _missing(self.path(file)) from error

    def _as_written(self, stream: BinaryIO, span: VectorSpan) -> bool:
        stream.seek(span.start * self._width)
        size = span.count * self._width
        read = stream.read(size)
        return len(read) == size and zlib.crc32(read) == span.checksum

    def _write(self, file: int, start: int, codes: Sequence[Codes]) -> None:
        path = self.path(file)
        try:
            with path.open("r+b" if path.exists() else "w+b") as stream:
                stream.seek(start * self._width)
                stream.writelines(code.tobytes() for code in codes)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise IndexFault(
                f"The token vectors {str(path)!r} cannot be written: {error.strerror}.",
                hint="Make room on the disk; the ingest goes on where it stopped.",
            ) from error

    def maxsim(self, query: Floats, file: int, spans: Sequence[VectorSpan]) -> Floats:
        """Score passages against a question.

        Args:
            query: The question's token vectors, shape (t, d).
            file: The number of the file.
            spans: Where each passage's rows lie in it.

        Returns:
            Shape (len(spans),): the mean over the question's tokens of the best cosine with a
            token of the passage (Khattab and Zaharia, ColBERT, SIGIR 2020, averaged); 0 for a
            passage without tokens.

        Raises:
            IndexFault: The file is missing, or rows in question are not those that were written.
        """
        scores = np.zeros(len(spans), dtype=np.float32)
        found = [self._whole(file, span) if span.count else None for span in spans]
        filled = [index for index, rows in enumerate(found) if rows is not None and len(rows)]
        if not filled or not len(query):
            return scores
        rows = [rows for rows in found if rows is not None and len(rows)]
        similar = token_cosines(
            np.concatenate(rows), rotate_vectors(query, self.rotation), self._settings.bits
        )
        starts = np.cumsum([0, *(len(row) for row in rows[:-1])])
        scores[filled] = np.maximum.reduceat(similar, starts, axis=0).mean(axis=1)
        return scores

    def _whole(self, file: int, span: VectorSpan) -> Codes:
        """Return the rows of a span; the first time they are compared with their checksum."""
        rows, known = self._rows(file, span), (file, span.start, span.checksum)
        if known in self._sound and len(rows) == span.count:
            return rows
        if len(rows) != span.count or zlib.crc32(rows.data) != span.checksum:
            raise IndexFault(
                f"The token vectors {str(self.path(file))!r} are damaged.",
                hint="Run `rag index repair`.",
            )
        if len(self._sound) >= _MOST_KNOWN:
            self._sound.clear()
        self._sound.add(known)
        return rows

    def _rows(self, file: int, span: VectorSpan) -> Codes:
        end = span.start + span.count
        number, codes = self._map
        if number != file or len(codes) < end:
            codes = self._mapped(file)
            self._map = (file, codes)
        return codes[span.start : end]

    def _mapped(self, file: int) -> Codes:
        path, width = self.path(file), self._width
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


def _load_rotation(path: Path, dimension: int) -> Floats:
    try:
        # A pipe has no size, and is never waited for.
        if path.stat().st_size < 4 * dimension * dimension:
            raise ValueError("it is too short")
        with path.open("rb") as file:
            rotation: Floats = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, TypeError, MemoryError) as error:
        raise IndexFault(
            f"The rotation {str(path)!r} cannot be read: {error}.", hint="Build the index again."
        ) from error
    if rotation.shape != (dimension, dimension) or str(rotation.dtype) != "float32":
        raise IndexFault(
            f"{str(path)!r} has shape {rotation.shape} and {rotation.dtype}, "
            f"expected d = {dimension} and float32.",
            hint="Build the index again.",
        )
    return rotation
