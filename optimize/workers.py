"""Runs a task over items in threads: one result or failure per item, in order.
the threads that a program begins by itself.

Each item has a time limit of its own: what does not come back in time is given up and its thread
left behind (a daemon, so it holds up nothing), with a fresh one in its place. DSPy's executor
waits for such stragglers, 120 seconds and more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ragwright.programs.dspy_internals import keep_bars_apart

T = TypeVar("T")

_CARRIED: ContextVar[bool] = ContextVar("carried", default=False)
_PATCHING = threading.Lock()
_inside = 0
"""How many blocks of `carried` are open, in all threads."""
_submit = ThreadPoolExecutor.submit
"""The method as it was before the first of them."""


@contextmanager
def carried() -> Iterator[None]:
    """Let what a program hands to a `ThreadPoolExecutor` inside run in the context of its caller.

    DSPy's own threads are told DSPy's settings by DSPy; those of a program's own executor start
    without: with no language model, no account, and other knobs than those that are tried. Python
    has no place to say so but the method, which is put back when the last block ends; callers
    outside of these blocks notice nothing.
    """
    global _inside, _submit  # noqa: PLW0603 (the patch is of the process)
    keep_bars_apart()
    with _PATCHING:
        if not _inside:
            _submit = ThreadPoolExecutor.submit
            ThreadPoolExecutor.submit = _submitted  # type: ignore[assignment, method-assign]
        _inside += 1
    token = _CARRIED.set(True)
    try:
        yield
    finally:
        _CARRIED.reset(token)
        with _PATCHING:
            _inside -= 1
            if not _inside:
                ThreadPoolExecutor.submit = _submit  # type: ignore[method-assign]


def _submitted(
    pool: ThreadPoolExecutor, task: Callable[..., Any], /, *given: Any, **named: Any
) -> Future[Any]:
    if _CARRIED.get():
        return _submit(pool, copy_context().run, task, *given, **named)
    return _submit(pool, task, *given, **named)


class TimedOut(Exception):
    """A task did not come back in time; kept as a result, never raised."""


@dataclass
class _Board(Generic[T]):
    """What all threads of one run share; every access holds `changed`."""

    task: Callable[[int], T]
    count: int
    results: dict[int, T | Exception] = field(default_factory=dict)
    started: dict[int, float] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    stopped: BaseException | None = None

    def take(self) -> int | None:
        with self.changed:
            number = len(self.started)
            if self.stopped is not None or number >= self.count:
                return None
            self.started[number] = time.monotonic()
            return number

    def put(self, number: int, result: T | Exception) -> bool:
        """Keep the first result; False tells a thread that it has been given up."""
        with self.changed:
            first = number not in self.results
            self.results.setdefault(number, result)
            self.changed.notify_all()
            return first

    def stop(self, reason: BaseException) -> None:
        with self.changed:
            self.stopped = self.stopped or reason
            self.changed.notify_all()


def run_tasks(
    task: Callable[[int], T], count: int, *, threads: int, timeout: float
) -> list[T | Exception]:
    """Run a task for every number below `count`.

    Args:
        task: Runs in a thread that sees the caller's context variables.
        count: How many items there are.
        threads: How many run at a time.
        timeout: Seconds per item.

    Raises:
        BaseException: What a task raised that is no `Exception`, or Ctrl-C; no new item is begun.
    """
    with carried():
        return _all(_Board(task, count), threads=threads, timeout=timeout)


def _all(board: _Board[T], *, threads: int, timeout: float) -> list[T | Exception]:
    count = board.count
    for _ in range(min(threads, count)):
        _start(board)
    try:
        while len(board.results) < count and board.stopped is None:
            with board.changed:
                board.changed.wait(_until_next(board, timeout))
            for number in _overdue(board, timeout):
                if board.put(number, TimedOut(f"no answer within {timeout:g} s")):
                    _start(board)
    except BaseException as error:
        board.stop(error)
        raise
    if board.stopped is not None:
        raise board.stopped
    return [board.results[number] for number in range(count)]


def _start(board: _Board[T]) -> None:
    context = copy_context()
    threading.Thread(target=context.run, args=(_work, board), daemon=True).start()


def _work(board: _Board[T]) -> None:
    while (number := board.take()) is not None:
        try:
            result: T | Exception = board.task(number)
        except Exception as error:  # noqa: BLE001 (whatever a program raises is its result)
            result = error
        except BaseException as signal:  # noqa: BLE001 (handed to the caller's thread)
            board.stop(signal)
            return
        if not board.put(number, result):
            return


def _running(board: _Board[T]) -> dict[int, float]:
    return {n: at for n, at in board.started.items() if n not in board.results}


def _overdue(board: _Board[T], timeout: float) -> list[int]:
    with board.changed:
        now = time.monotonic()
        return [number for number, at in _running(board).items() if now - at >= timeout]


def _until_next(board: _Board[T], timeout: float) -> float:
    """Seconds until the next item is overdue; at most one, so that Ctrl-C is seen."""
    if len(board.results) == board.count or board.stopped is not None:
        return 0
    oldest = min(_running(board).values(), default=time.monotonic())
    return max(0.0, min(1.0, oldest + timeout - time.monotonic()))
