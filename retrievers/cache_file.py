"""What was computed before and can be computed again: SQLite files in the user's cache folder.

Each serves every index on the machine and has a limit: when it outgrows that, what was not used for
longest goes. They may be deleted at any time. Knows nothing of what is kept.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ragwright.retrievers.database import make_private, open_database, what_helps
from ragwright.retrievers.errors import InputError, ModelError

DEFAULT_GIB = 4.0

_RUNS = """
PRAGMA page_size = 16384;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS runs (number INTEGER PRIMARY KEY AUTOINCREMENT);
{tables}
INSERT INTO runs DEFAULT VALUES;
"""


def cache_folder() -> Path:
    """Return the folder for what can be made again: models, vectors, converted files.

    `RAGWRIGHT_CACHE` names it; by default it is `ragwright` in the user's cache folder, and a
    temporary one for a user without a home.

    Raises:
        InputError: There is neither.
    """
    if named := os.environ.get("RAGWRIGHT_CACHE"):
        return Path(named)
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "ragwright"
    home = usable_home()
    place = None if home is None else home / ".cache/ragwright"
    return place if place is not None and _can_be(place) else private_folder()


def usable_home() -> Path | None:
    """Return the user's home; None where there is none and none can be made, as in containers."""
    try:
        home = Path.home()
    except RuntimeError:  # neither HOME nor an entry for this user
        return None
    return home if _can_be(home) else None


def _can_be(folder: Path) -> bool:
    """Tell whether a folder is there, or can be made."""
    there = next(place for place in (folder, *folder.parents) if _is_seen(place))
    return there.is_dir() and (there == folder or os.access(there, os.W_OK))


def _is_seen(place: Path) -> bool:
    """Tell whether something is there that this user may look at: /root, say, is closed."""
    try:
        return place.exists()
    except PermissionError:
        return False


def private_folder() -> Path:
    """Return a temporary folder that this user alone can write; it may be gone after a restart.

    Raises:
        InputError: It cannot be made, or somebody else has made one of its name.
    """
    hint = "Let RAGWRIGHT_CACHE name a folder that this user can write."
    try:
        folder = Path(tempfile.gettempdir(), f"ragwright-{os.getuid()}")
        folder.mkdir(exist_ok=True, mode=0o700)
        found = folder.lstat()
    except OSError as error:
        raise InputError(f"No folder for a cache can be made: {error}.", hint=hint) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise InputError(
            f"{str(folder)!r} is not this user's alone: no cache is put there.", hint=hint
        )
    return folder


def cache_limit() -> int:
    """Return how many bytes vectors may fill: `RAGWRIGHT_CACHE_GIB`, 4 by default; 0 for none.

    Raises:
        InputError: It is not a number.
    """
    value = os.environ.get("RAGWRIGHT_CACHE_GIB", "")
    try:
        return int((float(value) if value else DEFAULT_GIB) * 2**30)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"RAGWRIGHT_CACHE_GIB is {value!r}, not a number.", hint="Set it to 4, or to 0."
        ) from error


class CacheFile:
    """A file with one table of a `key` and when it was `used`: the number of a run.

    Safe to use from several threads and processes.

    Args:
        path: The SQLite file; made if it is missing.
        table: The table's name.
        tables: SQL that makes it.
        limit: Bytes that the file may fill.
        holds: What it is a cache of, for messages.

    Raises:
        ModelError: The file is damaged, or cannot be made.
    """

    def __init__(self, path: Path, table: str, tables: str, *, limit: int, holds: str) -> None:
        self._path = path
        self._table = table
        self._limit = limit
        self._holds = holds
        self._lock = threading.Lock()
        with self._faults():
            path.parent.mkdir(parents=True, exist_ok=True)
            make_private(path)  # what it holds comes of documents
            path.chmod(0o600)
            self._connection = open_database(path, _RUNS.format(tables=tables), timeout=60)
            self._run = int(self._connection.execute("SELECT last_insert_rowid()").fetchone()[0])

    def bytes_used(self) -> int:
        """Return how much of the file is filled."""
        pages, free, size = (
            int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction, of one thread.

        Raises:
            ModelError: The file cannot be read or written.
        """
        with self._faults(), self._lock, self._connection:
            yield self._connection

    def _touch(self, keys: Iterable[str]) -> None:
        """Note that entries were used; inside a transaction."""
        self._connection.executemany(
            f"UPDATE {self._table} SET used = ? WHERE key = ? AND used != ?",
            ((self._run, key, self._run) for key in keys),
        )

    def _shrink(self) -> None:
        """Drop a tenth at a time until the rest fits; inside a transaction."""
        while self.bytes_used() > self._limit:
            gone = self._connection.execute(
                f"DELETE FROM {self._table} WHERE key IN "
                f"(SELECT key FROM {self._table} ORDER BY used LIMIT max(1, "
                f"(SELECT count(*) FROM {self._table}) / 10))"
            )
            if not gone.rowcount:
                return

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ModelError(
                f"The cache of {self._holds} {str(self._path)!r} cannot be used: {error}.",
                hint=what_helps(
                    error, "Delete it, make room on its disk, or set RAGWRIGHT_CACHE_GIB=0."
                ),
            ) from error
