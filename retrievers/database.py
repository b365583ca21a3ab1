"""Opens SQLite files; nothing is left open where that fails.

Knows no table: whoever opens a file hands in the script that makes them.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

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
    connection = sqlite3.connect(file, check_same_thread=False, timeout=timeout)
    try:
        if connection.execute(_RUNS_BY_ITSELF).fetchone():
            raise sqlite3.DatabaseError("it holds a view or a trigger, which no file of ours does")
        connection.executescript(script)
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def make_private(file: Path) -> None:
    """Make a file that the user alone can read, if it is missing.

    SQLite gives what it puts beside a file the rights that the file has when it is opened.

    Raises:
        OSError: It cannot be made, or not be read.
    """
    os.close(os.open(file, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))
