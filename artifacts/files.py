"""Reading and writing an artifact's files so that what was written survives a power cut.

Knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from ragwright.retrievers.errors import ArtifactError


def read_text(file: Path) -> str:
    """Read a text file of an artifact.

    Raises:
        ArtifactError: It is missing, unreadable or not UTF-8.
    """
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for, for ever
            raise OSError(errno.EINVAL, "it is no file")
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ArtifactError(
            f"Cannot read {str(file)!r}: {reason}.", hint="Restore the file or compile again."
        ) from error


def write(file: Path, content: bytes) -> None:
    """Write a file and wait until it is on disk."""
    with file.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def sha256(content: bytes) -> str:
    """Return the SHA-256 of contents, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
