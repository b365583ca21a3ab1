"""Seconds that something took when it was first done, where it is now remembered instead.

Whoever times an answer counts them in: else the program that is timed first looks slow, and the
next ones, which find its passages read and its calls paid for, look fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SPARED: ContextVar[list[float] | None] = ContextVar("spared", default=None)


def spare_seconds(seconds: float) -> None:
    """Tell whoever collects that so many seconds were not spent again."""
    collected = _SPARED.get()
    if collected is not None:
        collected.append(seconds)


@contextmanager
def collect_spared_seconds() -> Iterator[list[float]]:
    """Collect the seconds that were not spent again inside; an outer collection has them too."""
    seconds: list[float] = []
    token = _SPARED.set(seconds)
    try:
        yield seconds
    finally:
        _SPARED.reset(token)
        spare_seconds(sum(seconds))
