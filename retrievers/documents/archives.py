"""Unpacks archives of documents into a folder of its own, within limits.

Only regular files, and only into that folder: what a name leads elsewhere with is refused by name,
links and devices are left out. What comes out counts, not what an archive says comes out.
"""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ragwright.retrievers.documents.opening import PACKED, UnreadableFile, open_unpacked
from ragwright.retrievers.documents.options import ReadOptions

_TARS = frozenset({".tar", ".tgz", ".tbz2", ".txz"})
_ENTRIES = 20_000
_BLOCK = 1 << 20
_UTF8 = 0x800
"""A bit of an entry of a zip: its name is UTF-8. Many write UTF-8 without it."""
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
    ValueError, RuntimeError,
)  # fmt: skip
"""What the libraries raise of archives that are no such, or damaged."""


class _Entry(NamedTuple):
    name: str
    content: IO[bytes]


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is an archive that can be unpacked.

    >>> [is_archive(Path(name)) for name in ("docs.zip", "docs.tar.gz", "notes.gz")]
    [True, True, False]
    """
    suffix, inner = path.suffix.lower(), path.with_suffix("").suffix.lower()
    return suffix == ".zip" or suffix in _TARS or (suffix in PACKED and inner == ".tar")


def unpack(path: Path, folder: Path, id: str, options: ReadOptions) -> None:
    """Write the files in an archive into a folder that is empty.

    Args:
        path: The archive.
        folder: Where to.
        id: What the archive is called.
        options: How much may come out, and who is told what was left out.

    Raises:
        UnreadableFile: It is none, damaged or locked, or holds more than may come out.
    """
    left = options.max_unpacked_bytes
    try:
        if (size := path.stat().st_size) > options.max_bytes:
            raise UnreadableFile(f"it has {size:,} bytes, more than {options.max_bytes:,}")
        entries = _zipped if path.suffix.lower() == ".zip" else _tarred
        for number, entry in enumerate(entries(path, id, options)):
            if number >= _ENTRIES:
                raise UnreadableFile(f"it holds more than {_ENTRIES:,} files: unpack it")
            if place := _place(entry.name, folder, id, options):
                left = _copy(entry.content, place, left, options)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreadableFile(f"it cannot be unpacked: {reason}") from error
    except _DAMAGED as error:
        raise UnreadableFile(f"it is damaged, or no archive: {error}") from error


def _zipped(path: Path, id: str, options: ReadOptions) -> Iterator[_Entry]:
    with open_unpacked(path, options.max_unpacked_bytes) as file, zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if entry.flag_bits & 1:
                raise UnreadableFile("it is locked with a password: unpack it")
            name = _name(entry)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in {0, stat.S_IFREG}:
                options.note(f"{id}:{name}", "it is no regular file, and is not read")
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


def _tarred(path: Path, id: str, options: ReadOptions) -> Iterator[_Entry]:
    with (
        open_unpacked(path, 2 * options.max_unpacked_bytes) as file,
        tarfile.open(fileobj=file, mode="r|", errors="replace") as archive,
    ):
        for entry in archive:
            if entry.isdir():
                continue
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is None:
                options.note(f"{id}:{entry.name}", "it is no regular file, and is not read")
                continue
            yield _Entry(entry.name, content)


def _place(name: str, folder: Path, id: str, options: ReadOptions) -> Path | None:
    """Return where to write a file; None where one is, or, with a note, its name is no such."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
        options.note(f"{id}:{name}", "its name leads out of the archive, and it is not read")
        return None
    place = folder.joinpath(*path.parts)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        return None if place.exists() else place  # one that was added to may hold a file twice
    except OSError as error:
        options.note(f"{id}:{name}", f"its name cannot be used: {error.strerror}")
        return None


def _copy(content: IO[bytes], place: Path, left: int, options: ReadOptions) -> int:
    """Write a file, and return how many bytes may still come out."""
    with place.open("xb") as file:
        while block := content.read(_BLOCK):
            left -= len(block)
            if left < 0:
                most = options.max_unpacked_bytes
                raise UnreadableFile(f"it unpacks to more than {most:,} bytes: unpack it")
            file.write(block)
    return left
