"""Sends plans to a language model side by side, yields results in order, stops where it is down.

Knows neither what is planned nor what is made of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeAlias, TypeVar

import dspy
from dspy.utils.exceptions import AdapterParseError, DSPyError

from ragwright.optimize.spending.budget import BudgetSpent
from ragwright.programs.causes import Cause, cause_of
from ragwright.retrievers.errors import ModelError

MOST_FAILED = 3
"""Attempts in a row that may fail for what a language model's server says."""
MOST_UNREAD = 12
"""Attempts from the first on of which nothing may be readable: that writer keeps to no form."""
_OF_WHAT_IS_ASKED = frozenset({"content filter", "context too long"})
"""Causes that lie in what was asked about: another passage may do."""

Plan = TypeVar("Plan")
AttemptError: TypeAlias = DSPyError | RecursionError
"""What an attempt may end in; the second where a reply is nested too deep."""
AttemptOutcome: TypeAlias = dspy.Prediction | AttemptError | BudgetSpent


def run_attempts(
    attempt: Callable[[Plan], dspy.Prediction],
    plans: Iterator[Plan],
    *,
    threads: int,
    missing: Callable[[], int],
) -> Iterator[tuple[Plan, AttemptOutcome]]:
    """Try plans side by side and yield them in their order, never more than are missing at once.

    After a cap nothing is begun; what was under way is yielded, since it is paid for.
    """
    waiting: deque[tuple[Plan, Future[AttemptOutcome]]] = deque()
    capped = False
    workers = ThreadPoolExecutor(threads)
    try:
        while True:
            while not capped and len(waiting) < min(threads, missing()):
                plan = next(plans, None)
                if plan is None:
                    break
                seen = copy_context()  # the caller's language model
                waiting.append((plan, workers.submit(seen.run, _outcome, attempt, plan)))
            if not waiting:
                return
            plan, future = waiting.popleft()
            said = future.result()
            capped = capped or isinstance(said, BudgetSpent)
            yield plan, said
    finally:
        workers.shutdown(wait=False, cancel_futures=True)


def _outcome(attempt: Callable[[Plan], dspy.Prediction], plan: Plan) -> AttemptOutcome:
    try:
        return attempt(plan)
    except (DSPyError, RecursionError, BudgetSpent) as error:
        return error


class FailureWatch:
    """Tells a language model that is down, or can't write, from one that fails now and then."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._unread = 0
        self._readable = False

    def for_good(self, said: dspy.Prediction | AttemptError, kept: Sized) -> str:
        """Return why it ends with this outcome; nothing if it goes on.

        Raises:
            ModelError: It ends, and nothing is kept.
        """
        if not kept and self._never_reads(said):
            return f"nothing could be read in the first {MOST_UNREAD} replies"
        cause = server_failure(said)
        of_server = cause is not None and cause.kind not in _OF_WHAT_IS_ASKED
        self._in_a_row = self._in_a_row + of_server if cause else 0
        if cause is None or self._in_a_row < MOST_FAILED:
            return ""
        if not kept:
            raise ModelError(cause.what, hint=cause.hint)
        return f"{cause.what} {cause.hint}"

    def _never_reads(self, said: dspy.Prediction | AttemptError) -> bool:
        self._readable = self._readable or isinstance(said, dspy.Prediction)
        self._unread += isinstance(said, AdapterParseError | RecursionError)
        return not self._readable and self._unread >= MOST_UNREAD


def server_failure(said: dspy.Prediction | AttemptError) -> Cause | None:
    """What a language model's server did wrong, if an attempt came to nothing because of it."""
    if not isinstance(said, DSPyError) or isinstance(said, AdapterParseError):
        return None
    return cause_of(said, dspy.settings.lm)
