"""Opens SQLite files; nothing is left open where that fails.

Knows no table: whoever opens a file hands in the script that makes them.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)

UNSAID = 2.0
"""Seconds that another process is waited for without a word."""
_CAUSES = {
    "is locked": "Another process holds the file: try again when it is done, or end it.",
    "readonly database": "It has to be writable, for who only reads too: see to its rights and "
    "how it is mounted, or take a copy.",
    "unable to open database file": "See to the rights of its folder, which has to be writable.",
}

_RUNS_BY_ITSELF = "SELECT 1 FROM sqlite_master WHERE type IN ('view', 'trigger') LIMIT 1"
"""What a file may hold that its owner wrote and its reader runs, without an end perhaps."""


def open_database(file: Path | str, script: str, *, timeout: float) -> sqlite3.Connection:
    """Open a file for several threads, which take turns, and run a script.

    Args:
        file: The file, made if it is missing; or ":memory:".
        script: SQL statements, pragmas among them.
        timeout: Seconds to wait for another process that writes.

    Raises:
        sqlite3.DatabaseError: It cannot be opened, or the script fails.
    """
    connection = sqlite3.connect(
        file, check_same_thread=False, timeout=min(timeout, UNSAID), factory=_TellingConnection
    )
    connection.wait(file, timeout)
    try:
        if connection.execute(_RUNS_BY_ITSELF).fetchone():
            raise sqlite3.DatabaseError("it holds a view or a trigger, which no file of ours does")
        connection.executescript(script)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def what_helps(error: Exception, otherwise: str) -> str:
    """Return what helps against a fault of SQLite, whoever passed it on.

    Args:
        error: The fault.
        otherwise: What helps where the file is neither held nor protected.
    """
    said = str(error)
    return next((hint for words, hint in _CAUSES.items() if words in said), otherwise)


class _TellingConnection(sqlite3.Connection):
    """Tells what it waits for, once it has waited a while."""

    def wait(self, file: Path | str, seconds: float) -> None:
        """Wait so long for who holds the file."""
        self._file, self._longer = file, seconds - UNSAID

    def execute(self, *given: Any) -> sqlite3.Cursor:
        return self._waited(lambda: super(_TellingConnection, self).execute(*given))

    def executemany(self, query: str, values: Iterable[Any], /) -> sqlite3.Cursor:
        given = list(values)  # the file is held at the first, or at none
        return self._waited(lambda: super(_TellingConnection, self).executemany(query, given))

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        return self._waited(lambda: super(_TellingConnection, self).executescript(script))

    def _waited(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if self._longer <= 0 or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
        log.warning("waiting for %r, which another process holds", str(self._file))
        self._be_patient(self._longer)
        try:
            return work()
        finally:
            self._be_patient(UNSAID)

    def _be_patient(self, seconds: float) -> None:
        super().execute(f"PRAGMA busy_timeout = {int(1000 * seconds)}")


def make_private(file: Path) -> None:
    """Make a file that the user alone can read, if it is missing.

    SQLite gives what it puts beside a file the rights that the file has when it is opened.

    Raises:
        OSError: It cannot be made, or not be read.
    """
    os.close(os.open(file, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))
