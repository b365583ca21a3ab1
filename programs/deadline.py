"""How long the question that is being answered still has: one clock for all that works on it.

A question that is given up must not go on to occupy a server: its calls end with its time, and none
begins after it. Time for which a server is away, or asks to be left alone, is not the question's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class GivenUp(Exception):
    """The question that wants a call has run out of time; nobody waits for the reply."""


class Deadline:
    """A clock that runs out; safe to use from many threads.

    Args:
        seconds: How long it runs, from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._pauses = 0
        self._lock = threading.Lock()

    @property
    def left(self) -> float:
        """Seconds that are left; negative once it has run out."""
        with self._lock:
            return self._until - time.monotonic()

    @property
    def passed(self) -> bool:
        """Whether it has run out; never while it is paused."""
        with self._lock:
            return not self._pauses and time.monotonic() >= self._until

    def extend(self, seconds: float) -> None:
        """Give it more time."""
        with self._lock:
            self._until += seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it stand still inside."""
        start = time.monotonic()
        with self._lock:
            self._pauses += 1
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1
                self._until += time.monotonic() - start


_CURRENT: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def keep_deadline(deadline: Deadline) -> Iterator[None]:
    """Have all calls inside keep to a deadline."""
    token = _CURRENT.set(deadline)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_deadline() -> Deadline | None:
    """Return the deadline of the question that is being answered, if there is one."""
    return _CURRENT.get()


def seconds_left(most: float) -> float:
    """Return how long a call may take: `most` seconds, or what the question has left."""
    deadline = _CURRENT.get()
    return most if deadline is None else max(0.0, min(most, deadline.left))


def refuse_if_given_up() -> None:
    """Let no call begin that nobody waits for.

    Raises:
        GivenUp: The question has run out of time.
    """
    deadline = _CURRENT.get()
    if deadline is not None and deadline.passed:
        raise GivenUp("The question that wants this call has run out of time.")
