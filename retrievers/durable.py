"""What was written is on the disk, and stays there when the power is cut."""

from __future__ import annotations

import os
from pathlib import Path


def fsync_path(path: Path) -> None:
    """Wait until a file's bytes, or a folder's entries, are on disk.

    A rename in a folder survives only from then on.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
