"""Fits a command to where it runs: no home, a share of the cores, a stream that is closed."""

from __future__ import annotations

import logging
import math
import os
import sys
from pathlib import Path

from ragwright.retrievers.cache_file import private_folder, usable_home

log = logging.getLogger(__name__)

CGROUPS = Path("/sys/fs/cgroup")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def fit_environment() -> None:
    """Put into the environment what libraries would get wrong, and say what cannot be put right.

    They read it when they are first imported; what is set stays. They keep files at home, and
    Chroma's is not imported without one. They start a thread for each core that they see, which are
    the host's: those of a container that has fewer wait for a share.
    """
    if sys.flags.optimize > 1:
        log.warning(
            "Python runs with -OO, which drops docstrings: models are not sent the instructions of "
            "programs that are not compiled. Unset PYTHONOPTIMIZE."
        )
    if usable_home() is None:
        os.environ["HOME"] = str(private_folder())
    cores = core_limit()
    if cores is not None and cores < (os.cpu_count() or 1):
        for name in THREADS:
            os.environ.setdefault(name, os.environ.get(THREADS[0], str(cores)))


def open_missing_streams() -> None:
    """Put nothing in the place of standard streams that are closed (`>&-`, some daemons).

    The next file that is opened would have the stream's number, and what is printed written to it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def core_limit() -> int | None:
    """Return how many cores the container may use, rounded up; None where there is no limit."""
    quota, period = _quota(CGROUPS)
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return None  # "max", or -1 of the older form
    return max(1, math.ceil(int(quota) / int(period)))


def _quota(groups: Path) -> tuple[str, str]:
    """Return microseconds of processor and the period that they are of, as Linux writes them."""
    try:
        quota, period = (groups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        older = groups / "cpu"
        try:
            quota = (older / "cpu.cfs_quota_us").read_text().strip()
            period = (older / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return "", ""
    return quota, period
