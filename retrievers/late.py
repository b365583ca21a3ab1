"""Token vectors on disk, few bits per dimension, and MaxSim over them.

Written at ingest from the embedding pass, read at query time, never encoded again. Each vector is
rotated by a random orthogonal matrix, which makes its coordinates nearly Gaussian, and each
coordinate is rounded (`token_codes.py`). Knows rows of numbers, not chunks or texts.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
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
        overwritten, never cut off: a reader may be at them.

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
        self._write(target, start, [self._rows(source, spans)])
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
        filled = [index for index, span in enumerate(spans) if span.count]
        if not filled or not len(query):
            return scores
        rows = self._whole(file, [spans[index] for index in filled])
        similar = token_cosines(rows, rotate_vectors(query, self.rotation), self._settings.bits)
        starts = np.cumsum([0, *(spans[index].count for index in filled[:-1])])
        scores[filled] = np.maximum.reduceat(similar, starts, axis=0).mean(axis=1)
        return scores

    def _whole(self, file: int, spans: Sequence[VectorSpan]) -> Codes:
        """Return the rows of spans; the first time they are compared with their checksums."""
        rows = self._rows(file, spans)
        for span, part in zip(spans, _parted(rows, spans), strict=True):
            known = (file, span.start, span.checksum)
            if known not in self._sound:
                if zlib.crc32(part.data) != span.checksum:
                    raise self._damaged(file)
                if len(self._sound) >= _MOST_KNOWN:
                    self._sound.clear()
                self._sound.add(known)
        return rows

    def _rows(self, file: int, spans: Sequence[VectorSpan]) -> Codes:
        """Read the rows of spans, those of one behind those of the other.

        They are read, not mapped: a file that is cut in place while it is mapped ends the process,
        and in the end all of it would lie in memory.
        """
        try:
            with self.path(file).open("rb", buffering=0) as stream:
                end = os.fstat(stream.fileno()).st_size // self._width
                if not all(0 <= span.start <= span.start + span.count <= end for span in spans):
                    raise self._damaged(file)
                rows = np.empty((sum(span.count for span in spans), self._width), dtype=np.uint8)
                for span, part in zip(spans, _parted(rows, spans), strict=True):
                    stream.seek(span.start * self._width)
                    if stream.readinto(part.data) != part.nbytes:
                        raise self._damaged(file)
        except OSError as error:
            raise _missing(self.path(file)) from error
        return rows

    def _damaged(self, file: int) -> IndexFault:
        return IndexFault(
            f"The token vectors {str(self.path(file))!r} are damaged.",
            hint="Run `rag index repair`.",
        )


def _parted(rows: Codes, spans: Sequence[VectorSpan]) -> Iterator[Codes]:
    """Yield the rows of each span, which lie one behind the other."""
    end = 0
    for span in spans:
        start, end = end, end + span.count
        yield rows[start:end]


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
