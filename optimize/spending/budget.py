"""What a compile may spend, and the account that keeps it within: calls, tokens, money, seconds.

Every attempt to call a language model passes `Account.ask`, from whatever thread; an attempt that
would break a cap is not made. Knows nothing of language models or of what the stages do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any

from ragwright.optimize.spending.ledger import Bill, CallLedger, PaidReply
from ragwright.programs.spared import collect_spared_seconds, spare_seconds
from ragwright.retrievers.errors import InputError


class BudgetSpent(BaseException):
    """A cap is reached. A signal and no error: like KeyboardInterrupt it passes every `except
    Exception` on its way out of an optimizer, which would else count it as one wrong answer.
    """


@dataclass(frozen=True, slots=True)
class Caps:
    """What may be spent at most; None is without a limit.

    Attributes:
        calls: Attempts that reach the provider, retries included.
        tokens: Prompt and completion tokens as the provider counts them.
        cost: US dollars.
        seconds: Wall clock of this process, after which no call goes out.

    Raises:
        InputError: A cap is no number from 0.
    """

    calls: int | None = None
    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("calls", "tokens"):
            _check_cap(name, getattr(self, name), Integral, "a whole number")
        for name in ("cost", "seconds"):
            _check_cap(name, getattr(self, name), Real, "a number")

    @property
    def metered(self) -> bool:
        """Whether a cap depends on what a call will turn out to use."""
        return self.tokens is not None or self.cost is not None


def _check_cap(name: str, cap: Any, kind: type, what: str) -> None:
    of_kind = isinstance(cap, kind) and not isinstance(cap, bool)
    if cap is not None and not (of_kind and cap >= 0):
        raise InputError(
            f"The cap {name!r} is {cap!r}, but must be {what} from 0.",
            hint="Leave it out for no limit.",
        )


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One call that wants to go out: its key, the most it should use, and the stage it is for."""

    key: str
    estimate: Bill
    stage: str


PaidCall = Callable[[], tuple[str, Bill]]
"""Makes a call and returns the reply as text with what it used."""


@dataclass
class Account:
    """Keeps a run within its caps, and answers what has been asked before from the ledger.

    Attributes:
        ledger: The calls on disk.
        caps: What the whole run may spend, what earlier processes spent included.
        held: Kept back for later stages.
        stage: What is being worked on.
        repeated: Calls answered from the ledger, by stage.
    """

    ledger: CallLedger = field(default_factory=CallLedger)
    caps: Caps = field(default_factory=Caps)
    held: Bill = field(default_factory=Bill)
    stage: str = ""
    repeated: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._start = time.monotonic()
        self._spent = sum(self.ledger.bills().values(), Bill())
        self._reserved = Bill()
        self._waiting: set[str] = set()
        self._longest = 0
        self._closed = False

    @property
    def spent(self) -> Bill:
        """What the run has spent so far."""
        with self._changed:
            return self._spent

    def ask(self, asked: CallRequest, answer: PaidCall) -> str:
        """Return the reply to a call; the same call is never made twice, nor two at a time.

        Raises:
            BudgetSpent: The call would break a cap.
        """
        with self._alone(asked.key):
            known = self.ledger.find(asked.key)
            if known is not None:
                self._replay(known, asked.stage)
                return known.text
            estimate = self._reserve(asked.estimate)
            return self._made(asked, estimate, answer)

    def close(self) -> None:
        """Let no more calls out, so that threads left behind come to an end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @contextmanager
    def holding(self, bill: Bill) -> Iterator[None]:
        """Keep an amount back for later."""
        before, self.held = self.held, bill
        try:
            yield
        finally:
            self.held = before

    def _made(self, asked: CallRequest, estimate: Bill, answer: PaidCall) -> str:
        started, used = time.perf_counter(), Bill(calls=1)
        try:
            number = self.ledger.open(asked.key, asked.stage)
            with collect_spared_seconds() as spared:
                text, used = answer()
            took = time.perf_counter() - started + sum(spared)
            self.ledger.close(number, PaidReply(text, took), used)
            return text
        finally:
            self._settle(estimate, replace(used, calls=1))

    def _settle(self, estimate: Bill, used: Bill) -> None:
        with self._changed:
            self._reserved -= estimate
            self._spent += used
            self._longest = max(self._longest, used.completion_tokens)
            self._changed.notify_all()

    def _reserve(self, estimate: Bill) -> Bill:
        with self._changed:
            estimate = replace(
                estimate, calls=1, completion_tokens=estimate.completion_tokens or self._longest
            )
            while not self._fits(estimate):
                if not self._reserved.calls:
                    raise BudgetSpent(self.described)
                self._changed.wait(1)
            self._reserved += estimate
            return estimate

    def _fits(self, estimate: Bill) -> bool:
        """Whether a call may go out now; raises where waiting for others cannot help."""
        caps, held = self.caps, self.held
        late = caps.seconds is not None and time.monotonic() - self._start >= caps.seconds
        total = self._spent + self._reserved + held
        if self._closed or late or (caps.calls is not None and total.calls >= caps.calls):
            raise BudgetSpent(self.described)
        if caps.metered and self._reserved.calls and not self._longest:
            return False
        wanted = total + estimate
        dear = caps.cost is not None and wanted.cost > caps.cost
        return not dear and (caps.tokens is None or wanted.tokens <= caps.tokens)

    @property
    def described(self) -> str:
        """What has been spent, and what may be."""
        parts = {"calls": self.caps.calls, "tokens": self.caps.tokens, "US$": self.caps.cost,
                 "seconds": self.caps.seconds}  # fmt: skip
        limits = ", ".join(f"{value} {name}" for name, value in parts.items() if value is not None)
        spent = self._spent
        return f"{spent.calls} calls and {spent.tokens} tokens spent of at most {limits or 'any'}"

    def _replay(self, known: PaidReply, stage: str) -> None:
        with self._changed:
            self.repeated[stage] = self.repeated.get(stage, 0) + 1
        spare_seconds(known.seconds)

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: key not in self._waiting)
            self._waiting.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._waiting.discard(key)
                self._changed.notify_all()
