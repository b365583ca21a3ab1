"""What files were converted to before: a file that is read again is not converted again.

Counting documents before an ingest, the ingest, the next one and every chunking that is tried read
the same files; converting one takes far longer than reading it. A conversion's key is the file's
bytes, what they are converted with, and the code that does it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Self

from ragwright.retrievers.cache_file import CacheFile, cache_folder, cache_limit
from ragwright.retrievers.documents.converter import ConverterProcess
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.errors import ModelError

_TABLES = """
CREATE TABLE IF NOT EXISTS conversions (
    key TEXT PRIMARY KEY, converted BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conversions_by_use ON conversions (used);
"""
_SHARE = 4
"""Converted files may fill a quarter of what vectors may."""
_LIBRARIES = (
    "beautifulsoup4", "lxml", "mammoth", "markdownify", "markitdown", "openpyxl", "pypdfium2",
    "python-pptx", "striprtf",
)  # fmt: skip

log = logging.getLogger(__name__)


class ConversionCache(CacheFile):
    """The file of conversions.

    Args:
        path: The SQLite file; made if it is missing.
        limit: Bytes that it may fill; what was not used for longest goes first.

    Raises:
        ModelError: The file is damaged, or cannot be made.
    """

    def __init__(self, path: Path, *, limit: int) -> None:
        super().__init__(path, "conversions", _TABLES, limit=limit, holds="converted files")

    def get(self, key: str) -> FileText | None:
        """Return what a file was converted to, if that is there and whole.

        Raises:
            ModelError: The file cannot be read.
        """
        with self._open() as connection:
            found = connection.execute(
                "SELECT converted FROM conversions WHERE key = ?", (key,)
            ).fetchone()
            if found is None:
                return None
            self._touch((key,))
        try:
            return FileText.of(json.loads(zlib.decompress(found[0])))
        except (zlib.error, ValueError, TypeError, KeyError):
            return None  # and it is converted again, and kept in its place

    def put(self, key: str, converted: FileText) -> None:
        """Keep a conversion.

        Raises:
            ModelError: The file cannot be written: the disk is full, for example.
        """
        packed = zlib.compress(json.dumps(converted.as_dict()).encode())
        with self._open() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO conversions VALUES (?, ?, ?)", (key, packed, self._run)
            )
            self._shrink()


class KeepingConverter:
    """A converter that converts only what the user's cache does not hold; a context manager.

    Where the cache fails, it is said once and done without.

    Args:
        options: How files are read.

    Raises:
        InputError: `RAGWRIGHT_CACHE_GIB` is not a number.
    """

    def __init__(self, options: ReadOptions) -> None:
        most, encoding = options.max_unpacked_bytes, options.encoding
        self._converter = ConverterProcess(options.max_seconds, most, encoding)
        self._asked = f"{most} {encoding}"
        self._max_bytes = options.max_bytes
        self._cache: ConversionCache | None = None
        if limit := cache_limit() // _SHARE:
            with self._without():
                self._cache = ConversionCache(cache_folder() / "conversions.sqlite", limit=limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._converter.__exit__()
        if self._cache is not None:
            self._cache.close()

    def convert(self, data: bytes, suffix: str) -> FileText:
        """Return what a file holds.

        Raises:
            UnreadableFile: It cannot be converted, took too long, or ended the process.
        """
        key = hashlib.sha256(
            f"{suffix} {self._asked} {converter_fingerprint()} ".encode() + data
        ).hexdigest()
        if self._cache is not None:
            with self._without():
                if found := self._cache.get(key):
                    return found
        made = self._converter.convert(data, suffix)
        if self._cache is not None:
            with self._without():
                self._cache.put(key, made)
        return made

    def unpack(self, path: Path, folder: Path) -> list[Problem]:
        """Write the files in an archive into a folder; return what of it was left out.

        Raises:
            UnreadableFile: It cannot be unpacked, took too long, or ended the process.
            InputError: The folder cannot be written to.
        """
        return self._converter.unpack(path, folder, self._max_bytes)

    @contextmanager
    def _without(self) -> Iterator[None]:
        """Go on without the cache where it fails: what it holds can be made again."""
        try:
            yield
        except ModelError as error:
            log.warning("%s It goes on without.", error)
            if self._cache is not None:
                self._cache.close()
            self._cache = None


@cache
def converter_fingerprint() -> str:
    """Return a hash of the code that converts: this package's own, and its libraries' versions."""
    made = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        made.update(file.read_bytes())
    for name in _LIBRARIES:
        try:
            made.update(f"{name} {metadata.version(name)}\n".encode())
        except metadata.PackageNotFoundError:
            made.update(f"{name} missing\n".encode())
    return made.hexdigest()
