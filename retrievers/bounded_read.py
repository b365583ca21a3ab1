"""Reads a file of a known kind whole, and refuses one that is larger than such files are.

A folder that somebody sent may hold a file of a terabyte, of which not a byte lies on a disk.
"""

from __future__ import annotations

from pathlib import Path

LARGEST_TEXT = 1 << 26
"""Bytes of a recipe, a manifest, a note beside an index."""


def read_bounded(file: Path, most: int = LARGEST_TEXT) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It has more than `most` bytes.
    """
    with file.open("rb") as stream:
        if stream.seekable() and file.stat().st_size > most:  # a pipe has no size
            raise ValueError(f"it has more than {most:,} bytes")
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data
