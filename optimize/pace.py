"""How many questions are answered at a time, and how long each may take: as the server allows.

More callers than a server answers at a time wait in its queue, where their time runs out. Where
most of them come too late even so, questions are asked one by one and given longer, once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import dspy

from ragwright.optimize.workers import Hopeless, TimedOut, run_tasks
from ragwright.programs.lm import can_write
from ragwright.programs.windows import served_slots

log = logging.getLogger(__name__)

T = TypeVar("T")

LONGER = 4
"""By what a question's time is multiplied where most came too late."""
_TOLD = 4
"""Answers that came too late before anything is concluded from them."""


class PaceChanged(BaseException):
    """From now on questions have more time: what was measured before cannot stand beside it.

    A signal and no error: no `except Exception` on its way may take it for a wrong answer.
    """


class Pace:
    """The pace of one compile or evaluation; relaxed once, where the server shows that it must be.

    Args:
        threads: Questions answered at a time.
        timeout: Seconds after which a question has failed.
        told: What has been said about it, in sentences.
        begins_anew: Whether all has to be measured anew at another pace.
    """

    def __init__(
        self,
        threads: int,
        timeout: float,
        told: tuple[str, ...] = (),
        *,
        begins_anew: bool = False,
    ) -> None:
        self.threads = threads
        self.timeout = timeout
        self.told = told
        self.begins_anew = begins_anew
        self.relaxed = False

    @classmethod
    def of_server(cls, threads: int, timeout: float, lm: Any, *, begins_anew: bool = False) -> Pace:
        """Return the pace that is wanted, with no more threads than a model's server answers."""
        slots = served_slots(lm) if isinstance(lm, dspy.BaseLM) and can_write(lm) else None
        if slots is None or slots >= threads:
            return cls(threads, timeout, begins_anew=begins_anew)
        said = f"The server answers {slots} at a time, so no more than {slots} threads ask it."
        return cls(slots, timeout, (said,), begins_anew=begins_anew)

    def is_hopeless(self, results: Mapping[int, Any]) -> bool:
        """Whether most answers came too late, so that the rest need not be tried at this pace."""
        late = sum(isinstance(one, TimedOut) for one in results.values())
        return late >= max(_TOLD, self.threads) and 2 * late > len(results)

    def relax(self, late: int, asked: int) -> bool:
        """Go on more slowly, and say so; False if that has been tried."""
        if self.relaxed:
            return False
        said = (
            f"{late} of {asked} questions had no answer within {self.timeout:g} s, "
            f"{self.threads} at a time: from now on they are asked one by one, and have "
            f"{LONGER * self.timeout:g} s. A lower max_tokens under [lm] makes replies shorter."
        )
        log.warning("%s", said)
        self.told += (said,)
        self.slow_down()
        return True

    def slow_down(self) -> None:
        """Ask one by one, and wait longer."""
        self.threads, self.timeout, self.relaxed = 1, LONGER * self.timeout, True

    def run(self, task: Callable[[int], T], count: int) -> list[T | Exception]:
        """Run a task for every number below `count` at this pace, again where it was too fast.

        Tasks that are run again ask the ledger first: nothing that was answered is paid for twice.

        Raises:
            PaceChanged: It was too fast, and what was measured at it has to be measured anew.
        """
        while True:
            try:
                found = run_tasks(
                    task, count, threads=self.threads, timeout=self.timeout,
                    hopeless=self.is_hopeless,
                )  # fmt: skip
            except Hopeless as signal:
                results = signal.results
            else:
                results = dict(enumerate(found))
                if not self.is_hopeless(results):
                    return found
            late = [one for one in results.values() if isinstance(one, TimedOut)]
            if not self.relax(len(late), len(results)):
                return [results.get(number, late[0]) for number in range(count)]
            if self.begins_anew:
                raise PaceChanged
