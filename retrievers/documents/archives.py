"""Unpacks archives of documents into a folder of its own, within limits.

Only regular files, and only into that folder: what a name leads elsewhere with is refused by name,
links and devices are left out. What comes out counts, not what an archive says comes out. Runs in
the converter's process: what the libraries take for headers, in memory and time, is bounded there.
"""

from __future__ import annotations

import errno
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ragwright.retrievers.documents.kinds import (
    ZIP,
    ZIPPED,
    is_plain_zip,
    may_be_office,
    zipped_kind,
)
from ragwright.retrievers.documents.opening import (
    PACKED,
    UnreadableFile,
    open_unpacked,
    read_bytes,
    read_start,
)
from ragwright.retrievers.documents.options import ReadOptions

_TARS = frozenset({".tar", ".tgz", ".tbz2", ".txz"})
_ENTRIES = 20_000
_DEEP = 100
"""Folders in folders: what removes them again goes one call deeper into each."""
_BLOCK = 1 << 12
"""Of a zip's bz2 or LZMA so much is unpacked at once as so many bytes give: 82 MB, not 20 GB."""
_UTF8 = 0x800
"""A bit of an entry of a zip: its name is UTF-8. Many write UTF-8 without it."""
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
    ValueError, RuntimeError,
)  # fmt: skip
"""What the libraries raise of archives that are no such, or damaged."""
_NAMES = frozenset({
    errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ, errno.EINVAL,
})  # fmt: skip
"""What a file system says of names that are none, or that two files cannot have."""


class NoRoom(Exception):
    """What an archive holds cannot be written, which is not the archive's problem."""


class _Entry(NamedTuple):
    name: str
    content: IO[bytes] | None
    """None of a folder, and of what is not read."""


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive that can be unpacked.

    >>> [is_archive(Path(name)) for name in ("docs.zip", "docs.tar.gz", "notes.gz")]
    [True, True, False]
    """
    return path.suffix.lower() == ".zip" or _is_tar(path)


def _is_tar(path: Path) -> bool:
    suffix, inner = path.suffix.lower(), path.with_suffix("").suffix.lower()
    return suffix in _TARS or (suffix in PACKED and inner == ".tar")


def holds_files(path: Path, most: int) -> bool:
    """Tell whether a file is to be unpacked: office files and books are zip archives, too.

    Raises:
        UnreadableFile: It cannot be read, or has more than `most` bytes.
    """
    suffix = path.suffix.lower()
    if suffix in ZIPPED:
        return is_plain_zip(read_bytes(path, most))
    if suffix != ".zip" or not may_be_office(read_start(path)):
        return is_archive(path)
    return not zipped_kind(read_bytes(path, most))


def unpack(path: Path, folder: Path, options: ReadOptions) -> None:
    """Write the files in an archive into a folder that is empty.

    Args:
        path: The archive.
        folder: Where to.
        options: How much may come out, and who is told what was left out.

    Raises:
        UnreadableFile: It is none, damaged or locked, or holds more than may come out.
        NoRoom: The folder cannot be written to.
    """
    filling = _Filling(folder, options)
    try:
        if (size := path.stat().st_size) > options.max_bytes:
            raise UnreadableFile(f"it has {size:,} bytes, more than {options.max_bytes:,}")
        entries = _tarred if _is_tar(path) else _zipped
        for number, entry in enumerate(entries(path, options)):
            if number >= _ENTRIES:
                raise UnreadableFile(f"it holds more than {_ENTRIES:,} files: unpack it")
            filling.add(entry)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableFile(f"it cannot be unpacked: {reason}") from error
    except _DAMAGED as error:
        raise UnreadableFile(
            f"it is {_fault(path, filling.last)}: {error} (fetch it again)"
        ) from error


def _fault(path: Path, last: str) -> str:
    """Say what is wrong with an archive that cannot be read to its end, and how far it could be."""
    if last:
        return f"damaged at the file {last[:200]!r} or behind it"
    if not _is_tar(path) and read_start(path).startswith(ZIP):
        return "cut or damaged (a zip has the list of its files at its end)"
    return "damaged, or no archive"


class _Filling:
    """Fills a folder, with no more than may come into it."""

    def __init__(self, folder: Path, options: ReadOptions) -> None:
        self._root = folder
        self._options = options
        self._left = options.max_unpacked_bytes
        self._folders = {folder}
        self.last = ""
        """The file that was written last, or is being written."""

    def add(self, entry: _Entry) -> None:
        """Write a file; one that is there already is replaced, as in archives that were added to.

        Raises:
            UnreadableFile: More comes out than may.
            NoRoom: It cannot be written.
        """
        self.last = entry.name
        if entry.content is None or (place := self._place(entry.name)) is None:
            return
        with _named(self._options, entry.name):
            self._make(place.parent)
            with place.open("wb") as file:
                for block in self._blocks(entry.content):
                    file.write(block)

    def _place(self, name: str) -> Path | None:
        """Return where to write a file; None, with a note, where its name is no such."""
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
            self._options.note(name, "its name leads out of the archive, and it is not read")
            return None
        if len(path.parts) > _DEEP:
            self._options.note(name, f"it lies more than {_DEEP} folders deep, and is not read")
            return None
        return self._root.joinpath(*path.parts)

    def _make(self, folder: Path) -> None:
        if folder in self._folders:
            return
        self._make(folder.parent)
        folder.mkdir(exist_ok=True)
        self._folders.add(folder)
        if len(self._folders) > _ENTRIES:
            raise UnreadableFile(f"it holds more than {_ENTRIES:,} folders: unpack it")

    def _blocks(self, content: IO[bytes]) -> Iterator[bytes]:
        while block := _read(content):
            self._left -= len(block)
            if self._left < 0:
                raise _too_much(self._options)
            yield block


def _too_much(options: ReadOptions) -> UnreadableFile:
    most = options.max_unpacked_bytes
    return UnreadableFile(f"it unpacks to more than {most:,} bytes: unpack it")


def _read(content: IO[bytes]) -> bytes:
    try:
        return content.read(_BLOCK)
    except OSError as error:
        raise UnreadableFile(f"it is damaged: {error.strerror or error}") from error


@contextmanager
def _named(options: ReadOptions, name: str) -> Iterator[None]:
    """Tell names that cannot be used from a place that cannot be written to."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NAMES:
            raise NoRoom(error.strerror or str(error)) from error
        options.note(name, f"its name cannot be used: {error.strerror}")


def _zipped(path: Path, options: ReadOptions) -> Iterator[_Entry]:
    with open_unpacked(path, options.max_unpacked_bytes) as file, zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                yield _Entry(entry.filename, None)
                continue
            if entry.flag_bits & 1:
                raise UnreadableFile("it is locked with a password: unpack it")
            name = _name(entry)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in {0, stat.S_IFREG}:
                options.note(name, "it is no regular file, and is not read")
                yield _Entry(name, None)
                continue
            with archive.open(entry) as content:
                yield _Entry(name, content)


def _name(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & _UTF8:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


def _tarred(path: Path, options: ReadOptions) -> Iterator[_Entry]:
    with (
        open_unpacked(path, 2 * options.max_unpacked_bytes) as file,
        tarfile.open(fileobj=file, mode="r|", errors="replace") as archive,
    ):
        for entry in archive:
            if entry.size > options.max_unpacked_bytes:
                raise _too_much(options)  # behind it, tarfile would look for the next for hours
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is None and not entry.isdir():
                options.note(entry.name, "it is no regular file, and is not read")
            yield _Entry(entry.name, content)
