"""Functions that workers of a cluster call; this module imports nothing that takes a while."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def double(number: int) -> int:
    return 2 * number


def die(file: str = "") -> int:
    """End the worker; the first time alone if there is a file to note it in."""
    if not file or not Path(file).exists():
        if file:
            Path(file).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()
