"""One writer at a time: a lock that a dead process does not hold, and a note of who holds it."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import filelock

from ragwright.retrievers.bounded_read import read_bounded
from ragwright.retrievers.errors import IndexFault


@contextmanager
def writer_lock(folder: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold an index's writer lock. The operating system frees it when the process dies.

    Args:
        folder: The folder of the index.
        wait: Seconds to wait for another that holds it.

    Raises:
        IndexFault: Another process, which is named, holds it, or there can be no such folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise IndexFault(
            f"There can be no index at {str(folder)[:200]!r}: {reason}.",
            hint="Name a folder that can be written.",
        ) from error
    lock, note = filelock.FileLock(folder / "writer.lock"), folder / "writer.json"
    try:
        lock.acquire(timeout=wait)
    except filelock.Timeout as error:
        raise IndexFault(
            f"The index {str(folder)!r} is being written by {_holder(note)}.",
            hint="Wait until it has finished.",
        ) from error
    except OSError as error:
        raise IndexFault(
            f"The index {str(folder)!r} cannot be locked for writing: {error.strerror}.",
            hint="Make sure that the folder can be written and has room.",
        ) from error
    try:
        _sign(note)
        yield
    finally:
        lock.release()


def is_being_written(folder: Path) -> bool:
    """Tell whether a process is writing an index now."""
    lock = filelock.FileLock(folder / "writer.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:  # a folder that cannot be written
        return False
    lock.release()
    return False


def _sign(note: Path) -> None:
    mine = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(Path(part).name for part in sys.argv[:2]),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        note.write_text(json.dumps(mine), encoding="utf-8")
    except OSError as error:
        raise IndexFault(
            f"The file {str(note)!r} cannot be written: {error.strerror}.",
            hint="Make room on the disk.",
        ) from error


def _holder(note: Path) -> str:
    try:
        held = json.loads(read_bounded(note))
        return f"process {held['pid']} on {held['host']} ({held['command']}, since {held['since']})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process that has not yet said which"
