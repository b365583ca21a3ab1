"""Opens files to be read: regular ones only, within limits, packed or not.

Everything that is read of a file goes through here, so that a pipe, a device, a file that grows
while it is read or one that unpacks to more than there is room for is a problem with a name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class UnreadableFile(Exception):
    """A file gives no text; the message says why."""


class NothingToRead(UnreadableFile):
    """A file could be read, and holds nothing for an index."""


_PACKED: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
PACKED = frozenset({*_PACKED, ".zst"})
_PACKED_TARS = {".tgz": ".gz", ".tbz2": ".bz2", ".txz": ".xz"}
_BUFFER = 1 << 20
_START = 512
DAMAGED = (EOFError, zlib.error, lzma.LZMAError)
"""What the unpackers raise of damaged files, beside `OSError`."""


def read_bytes(path: Path, most: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        UnreadableFile: It is no regular file, is larger than `most`, cannot be read, or changed
            meanwhile.
    """
    try:
        with _opened(path) as file:
            before = os.fstat(file.fileno())
            if before.st_size > most:
                raise UnreadableFile(f"it has {before.st_size:,} bytes, more than {most:,}")
            data = file.read(most + 1)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise UnreadableFile(_words(error)) from error
    if len(data) > most:
        raise UnreadableFile(f"it has more than {most:,} bytes")
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UnreadableFile("it changed while it was read")
    return data


def read_start(path: Path) -> bytes:
    """Return the first bytes of a file, a few hundred.

    Raises:
        UnreadableFile: It is no regular file, or cannot be read.
    """
    try:
        with _opened(path) as file:
            return file.read(_START)
    except OSError as error:
        raise UnreadableFile(_words(error)) from error


@contextmanager
def open_unpacked(path: Path, most: int) -> Iterator[IO[bytes]]:
    """Open a file of rows for reading, unpacked if its name ends in `.gz`, `.bz2`, `.xz`, `.zst`.

    Args:
        path: The file.
        most: How many bytes may come out of a packed one.

    Raises:
        UnreadableFile: It is no regular file, cannot be read, is damaged, or unpacks to more.
    """
    packing = path.suffix.lower()
    packing = _PACKED_TARS.get(packing, packing)
    try:
        with _opened(path) as file:
            if packing == ".zst":
                from pyarrow import CompressedInputStream, PythonFile

                inner: Any = CompressedInputStream(PythonFile(file, mode="r"), "zstd")
            elif packing in _PACKED:
                inner = _PACKED[packing](file)
            else:
                yield file
                return
            yield io.BufferedReader(_Counted(inner, most), _BUFFER)
    except OSError as error:
        raise UnreadableFile(_words(error)) from error
    except DAMAGED as error:
        raise UnreadableFile(f"it is damaged: {error}") from error


class _Counted(io.RawIOBase):
    """A stream that ends in an error once more came out of it than may."""

    def __init__(self, inner: Any, most: int) -> None:
        self._inner = inner
        self._left = self._most = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise UnreadableFile(f"it unpacks to more than {self._most:,} bytes")
        buffer[: len(data)] = data
        return len(data)


def _opened(path: Path) -> IO[bytes]:
    """Open a regular file; a pipe is not waited for, a device not touched.

    Raises:
        OSError: It cannot be opened.
        UnreadableFile: It is something else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb", _BUFFER)
    os.close(descriptor)
    raise UnreadableFile(f"it is {describe_path(mode)}, not a regular file")


def describe_path(mode: int) -> str:
    """Return what a path is, in words."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for test, name in kinds if test(mode)), "something else")


def _words(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
