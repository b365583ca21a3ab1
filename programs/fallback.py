"""Fallbacks of a stage that fails: a time limit, a circuit breaker, and a note of what was used.

Comes in: a call to a backend, and `FallbackSettings`. Goes out: its result, or a `StageError` that
the stage answers with its own next choice, which it notes. Nothing is caught until `protect` is
called on a program, so that compiling never scores a stage that did not run. Retries are not made
here: DSPy's language models and the stores' clients retry what is worth retrying.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import dspy
import httpx
from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    LMError,
    LMUnsupportedFeatureError,
)

from ragwright.programs.limits import FallbackSettings, FallbackStage
from ragwright.retrievers.errors import IndexFault, ModelError, StageError
from ragwright.retrievers.refusals import is_refused_request

T = TypeVar("T")

FAULTS = (
    IndexFault, ModelError, LMError, AdapterParseError, httpx.HTTPError, sqlite3.Error, OSError,
    RuntimeError,
)  # fmt: skip
"""What a stage falls back from, beside Chroma's. Wrong input and mistakes in code are not among
them.
"""
BLAMELESS = (
    AdapterParseError, ContextWindowExceededError, LMUnsupportedFeatureError, RecursionError,
)  # fmt: skip
"""Those of them that a question can bring about in a backend that is well."""

_THREADS = 32
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Degradation:
    """One stage that failed in one call.

    Attributes:
        stage: Which.
        used: What was used instead.
        reason: The error, in one line.
    """

    stage: str
    used: str
    reason: str

    def __str__(self) -> str:
        return f"{self.stage} failed ({self.reason}), used {self.used}"


class Breaker:
    """Counts the failures of one backend, and keeps callers away from it while it is down.

    Args:
        failures: So many in a row open it.
        cooldown: Seconds until one call may probe the backend again.
        clock: Seconds that only grow.
    """

    def __init__(
        self, failures: int, cooldown: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._cooldown = cooldown
        self._clock = clock
        self._failures = 0
        self._alone_until = 0.0
        self._probing = False
        self._lock = threading.Lock()

    def admits(self) -> bool:
        """Whether a call may go through; while open, one per cooldown may."""
        with self._lock:
            if self._failures < self._limit:
                return True
            now = self._clock()
            if now < self._alone_until:
                return False
            self._alone_until = now + self._cooldown
            self._probing = True
            return True

    def release(self) -> None:
        """Say that a call ended without telling how the backend is: another may probe it."""
        with self._lock:
            if self._probing:
                self._probing = False
                self._alone_until = self._clock()

    def record(self, *, worked: bool) -> None:
        """Say how a call ended."""
        with self._lock:
            self._probing = False
            self._failures = 0 if worked else self._failures + 1
            if self._failures >= self._limit:
                self._alone_until = self._clock() + self._cooldown


@dataclass(frozen=True)
class FallbackGuard:
    """Calls backends; without settings it does nothing but call them.

    Attributes:
        settings: Limits, or None.
        second_lm: What answers when the program's own language model fails.
    """

    settings: FallbackSettings | None = None
    second_lm: dspy.LM | None = None

    def call(self, stage: FallbackStage, backend: str, work: Callable[[], T]) -> T:
        """Do the work of a stage.

        Args:
            stage: Which; its time limit holds.
            backend: What the breaker is kept for: a path, a model.
            work: Runs in another thread if the stage has a time limit.

        Raises:
            StageError: It failed, took too long, or its circuit is open.
        """
        if self.settings is None:
            return work()
        limit = self.settings.seconds(stage)
        with self._watched(stage, backend, self.settings):
            if limit is None:
                return work()
            running = _threads(stage, backend).submit(copy_context().run, work)
            try:
                return running.result(limit)
            finally:
                running.cancel()  # what has not begun when nobody waits any more need not begin

    async def acall(
        self, stage: FallbackStage, backend: str, work: Callable[[], Awaitable[T]]
    ) -> T:
        """Do the work of a stage without blocking the event loop. See `call`."""
        if self.settings is None:
            return await work()
        with self._watched(stage, backend, self.settings):
            return await asyncio.wait_for(work(), self.settings.seconds(stage))

    @contextmanager
    def _watched(
        self, stage: FallbackStage, backend: str, settings: FallbackSettings
    ) -> Iterator[None]:
        breaker = _breaker(stage, backend, settings.failures, settings.cooldown_seconds)
        if not breaker.admits():
            raise StageError(f"{stage}: {backend} failed before and is left alone for a while.")
        try:
            yield
        except TimeoutError as error:
            breaker.record(worked=False)
            limit = settings.seconds(stage)
            why = (
                f"longer than {limit:g} seconds" if limit and not str(error) else error_line(error)
            )
            raise StageError(f"{stage}: {backend} took {why}.") from error
        except NotImplementedError:
            # A RuntimeError to Python, but a mistake in code: no backend failed.
            breaker.release()
            raise
        except _faults() as error:
            if isinstance(error, BLAMELESS) or is_refused_request(error):
                breaker.release()
            else:
                breaker.record(worked=False)
            raise StageError(f"{stage}: {error_line(error)}") from error
        except BaseException:
            breaker.release()
            raise
        breaker.record(worked=True)


def _faults() -> tuple[type[Exception], ...]:
    """What a stage falls back from. Chroma, which takes a second to import, fails once it is."""
    chroma = getattr(sys.modules.get("chromadb.errors"), "ChromaError", None)
    return FAULTS if chroma is None else (*FAULTS, chroma)


STRICT = FallbackGuard()

_NOTES: ContextVar[list[Degradation] | None] = ContextVar("degradations", default=None)
_COUNTS: Counter[tuple[str, str]] = Counter()
_COUNTS_LOCK = threading.Lock()


@contextmanager
def collect_degradations() -> Iterator[list[Degradation]]:
    """Collect what is noted inside, in this thread and those it starts with its context."""
    outer = _NOTES.get()
    notes: list[Degradation] = []
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)
        if outer is not None:
            outer.extend(notes)


def note_degradation(
    stage: FallbackStage, error: StageError | AdapterParseError, *, used: str
) -> None:
    """Say that a stage failed and what is used instead: in the answer, the log and a counter."""
    reason = error.what if isinstance(error, StageError) else error_line(error)
    noted = Degradation(stage, used, reason)
    _log.warning("%s", noted)
    with _COUNTS_LOCK:
        _COUNTS[stage, used] += 1
    notes = _NOTES.get()
    if notes is not None:
        notes.append(noted)


def degradations() -> dict[tuple[str, str], int]:
    """Return how often in this process each (stage, what was used instead) was noted."""
    with _COUNTS_LOCK:
        return dict(_COUNTS)


def error_line(error: BaseException) -> str:
    """Return an error's kind and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@lru_cache(maxsize=1024)
def _breaker(stage: str, backend: str, failures: int, cooldown: float) -> Breaker:
    """One per backend and process: programs are copied, backends are not."""
    return Breaker(failures, cooldown)


@lru_cache(maxsize=1024)
def _threads(stage: str, backend: str) -> ThreadPoolExecutor:
    """Of each backend its own: one that hangs for ever holds no thread that another needs."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix=stage)
