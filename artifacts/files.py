"""Reading and writing an artifact's files so that what was written survives a power cut.

Knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from ragwright.retrievers.bounded_read import LARGEST_TEXT, read_bounded
from ragwright.retrievers.errors import ArtifactError

LARGEST = 1 << 30
"""Bytes of a file of an artifact: of what was learned, or of its report."""


def read_text(file: Path) -> str:
    """Read a text file of an artifact.

    Raises:
        ArtifactError: It is missing, unreadable or not UTF-8.
    """
    try:
        return read_content(file, LARGEST_TEXT).decode()
    except UnicodeDecodeError as error:
        raise _unread(file, "it is not UTF-8 text") from error


def read_content(file: Path, most: int = LARGEST) -> bytes:
    """Read a file of an artifact.

    Raises:
        ArtifactError: It is missing, unreadable, no file, or larger than any of ours.
    """
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for, for ever
            raise OSError(errno.EINVAL, "it is no file")
        return read_bounded(file, most)
    except (OSError, ValueError) as error:  # a ValueError is of a name that no system takes
        raise _unread(file, getattr(error, "strerror", None) or str(error)) from error


def _unread(file: Path, reason: str) -> ArtifactError:
    return ArtifactError(
        f"Cannot read {str(file)!r}: {reason}.", hint="Restore the file or compile again."
    )


def write_durably(file: Path, content: bytes) -> None:
    """Write a file and wait until it is on disk."""
    with file.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def sha256(content: bytes) -> str:
    """Return the SHA-256 of contents, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
