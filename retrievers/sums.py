"""Checksums of the files of an index's parts: taken when they are committed, compared later.

The token vectors' checksums lie in the ledger, row by row; these are for files that only libraries
read. Files that nobody took a checksum of are not judged. Knows no library.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ragwright.retrievers.bounded_read import read_bounded

SUMS = "sums.json"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileChecksum:
    """A file's size in bytes, when it was written last in nanoseconds, and its CRC-32."""

    size: int
    written: int
    crc: int


class IndexChecksums:
    """The checksums of one index, in a file of its folder.

    Args:
        folder: The folder of the index.
    """

    def __init__(self, folder: Path) -> None:
        # A way back up out of a link leads elsewhere than its name says.
        self._folder = folder.resolve()
        self._known: dict[str, FileChecksum] = {}
        self._sums = _read(folder / SUMS)

    def take(self, part: str, files: Iterable[Path], *, immutable: bool = False) -> None:
        """Note a part's files as they are, and forget those that are no longer among them.

        Args:
            part: Whose they are.
            files: All of them.
            immutable: Whether a file that is known already cannot have changed since.
        """
        before = {**self._known, **self._sums.get(part, {})}
        named = {self._name(file): file for file in files}
        now = {name: _noted(file, before.get(name), immutable) for name, file in named.items()}
        found = {name: one for name, one in now.items() if one is not None}
        if found != self._sums.get(part):
            self._sums[part] = found
            self._write()

    def forget(self, part: str) -> None:
        """Judge a part's files no longer: they are being written."""
        self._known |= self._sums.get(part, {})
        if self._sums.pop(part, None) is not None:
            self._write()

    def covers(self, part: str) -> bool:
        """Tell whether a part's files were noted."""
        return part in self._sums

    def damaged(self, part: str, *, thorough: bool) -> list[str]:
        """Return the files of a part that are not as they were noted, or are gone.

        Args:
            part: Whose.
            thorough: Read every file; otherwise only those whose size or time differs.
        """
        noted = self._sums.get(part, {})
        return [name for name, one in noted.items() if not self._same(name, one, thorough)]

    def _same(self, name: str, noted: FileChecksum, thorough: bool) -> bool:
        file = self._folder / name
        try:
            seen = file.stat()
            if not thorough and (seen.st_size, seen.st_mtime_ns) == (noted.size, noted.written):
                return True
            same = seen.st_size == noted.size and file.is_file()  # a device has no end
            return same and crc32(file) == noted.crc
        except OSError:
            return False

    def _name(self, file: Path) -> str:
        return os.path.relpath(file.resolve(), self._folder)

    def _write(self) -> None:
        table = {
            part: {name: [one.size, one.written, one.crc] for name, one in sorted(files.items())}
            for part, files in sorted(self._sums.items())
        }
        temporary = self._folder / f"{SUMS}.tmp"
        temporary.write_text(json.dumps(table), encoding="utf-8")
        temporary.replace(self._folder / SUMS)


def crc32(file: Path) -> int:
    """Return the CRC-32 of a file, read a block at a time."""
    total = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            total = zlib.crc32(block, total)
    return total


def _noted(file: Path, known: FileChecksum | None, immutable: bool) -> FileChecksum | None:
    try:
        seen = file.stat()
        same = known and seen.st_size == known.size
        if known and same and (immutable or seen.st_mtime_ns == known.written):
            return known
        return FileChecksum(seen.st_size, seen.st_mtime_ns, crc32(file))
    except OSError:  # a library tidied it away meanwhile
        return None


def _read(file: Path) -> dict[str, dict[str, FileChecksum]]:
    """Read what was noted; a file that cannot be read says nothing about any other."""
    try:
        table = json.loads(read_bounded(file))
        return {
            part: {name: FileChecksum(*map(int, values)) for name, values in files.items()}
            for part, files in table.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}
