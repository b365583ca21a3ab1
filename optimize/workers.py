"""Runs a task over items in threads: one result or failure per item, in order.

Each item has a time limit of its own: what does not come back in time is given up and its thread
left behind (a daemon, so it holds up nothing), with a fresh one in its place; its calls of language
models end then, so that they keep no server from the next. DSPy's executor waits for such
stragglers, 120 seconds and more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ragwright.programs.deadline import Deadline, keep_deadline
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


class Hopeless(Exception):
    """What has come back so far says that the rest is not worth trying.

    Args:
        results: By number, what there is.
    """

    def __init__(self, results: Mapping[int, Any]) -> None:
        super().__init__(f"{len(results)} came back")
        self.results = results


def _never(results: Mapping[int, Any]) -> bool:
    return False


@dataclass
class _Board(Generic[T]):
    """What all threads of one run share; every access holds `changed`."""

    task: Callable[[int], T]
    count: int
    timeout: float
    results: dict[int, T | Exception] = field(default_factory=dict)
    started: dict[int, Deadline] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    stopped: BaseException | None = None

    def take(self) -> int | None:
        with self.changed:
            number = len(self.started)
            if self.stopped is not None or number >= self.count:
                return None
            self.started[number] = Deadline(self.timeout)
            return number

    def late(self) -> TimedOut:
        return TimedOut(f"no answer within {self.timeout:g} s")

    def known(self) -> dict[int, T | Exception]:
        with self.changed:
            return dict(self.results)

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
    task: Callable[[int], T],
    count: int,
    *,
    threads: int,
    timeout: float,
    hopeless: Callable[[Mapping[int, T | Exception]], bool] = _never,
) -> list[T | Exception]:
    """Run a task for every number below `count`.

    Args:
        task: Runs in a thread that sees the caller's context variables.
        count: How many items there are.
        threads: How many run at a time.
        timeout: Seconds per item.
        hopeless: Whether what has come back, by number, says that the rest is not worth trying.

    Raises:
        Hopeless: It says so; no new item is begun.
        BaseException: What a task raised that is no `Exception`, or Ctrl-C; no new item is begun.
    """
    with carried():
        return _all(_Board(task, count, timeout), threads, hopeless)


def _all(
    board: _Board[T], threads: int, hopeless: Callable[[Mapping[int, T | Exception]], bool]
) -> list[T | Exception]:
    count = board.count
    for _ in range(min(threads, count)):
        _start(board)
    try:
        while len(board.results) < count and board.stopped is None:
            with board.changed:
                board.changed.wait(_until_next(board))
            for number in _overdue(board):
                if board.put(number, board.late()):
                    _start(board)
            if len(known := board.known()) < count and hopeless(known):
                raise Hopeless(known)
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
        deadline = board.started[number]
        try:
            with keep_deadline(deadline):
                result: T | Exception = board.task(number)
        except Exception as error:  # noqa: BLE001 (whatever a program raises is its result)
            result = board.late() if deadline.passed else error
        except BaseException as signal:  # noqa: BLE001 (handed to the caller's thread)
            board.stop(signal)
            return
        if not board.put(number, result):
            return


def _running(board: _Board[T]) -> dict[int, Deadline]:
    return {n: until for n, until in board.started.items() if n not in board.results}


def _overdue(board: _Board[T]) -> list[int]:
    with board.changed:
        return [number for number, until in _running(board).items() if until.passed]


def _until_next(board: _Board[T]) -> float:
    """Seconds until the next item is overdue; at most one, so that Ctrl-C is seen.

    And never none: the clock of one that is paused may stand below it.
    """
    if len(board.results) == board.count or board.stopped is not None:
        return 0
    soonest = min((until.left for until in _running(board).values()), default=0.0)
    return max(0.01, min(1.0, soonest))
