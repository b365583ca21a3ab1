"""What each stage of a compile spent: an account in, calls, tokens, money and seconds by stage out.

Knows nothing of caps or of what the stages do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ragwright.optimize.spending.budget import Account
from ragwright.optimize.spending.ledger import Bill


@dataclass(frozen=True, slots=True)
class Spend:
    """What one stage spent.

    Attributes:
        stage: Its name.
        calls: LM calls that went out, retries included.
        prompt_tokens: As the provider counts them.
        completion_tokens: As above.
        seconds: Wall clock.
        cost: US dollars, 0 where no price is known.
        repeated: Calls answered from the ledger, at no cost.
    """

    stage: str
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    repeated: int = 0


class Meter:
    """Tells what each stage spent; the stages run one after the other."""

    def __init__(self, account: Account | None = None) -> None:
        self.account = account or Account()
        self._seconds: dict[str, float] = {}

    @property
    def stages(self) -> tuple[Spend, ...]:
        """One entry per stage that was begun, in order; what interrupted runs spent is in it."""
        bills = self.account.ledger.bills()
        return tuple(self._spend(name, bills.get(name, Bill())) for name in self._seconds)

    def _spend(self, name: str, bill: Bill) -> Spend:
        return Spend(
            stage=name,
            calls=bill.calls,
            prompt_tokens=bill.prompt_tokens,
            completion_tokens=bill.completion_tokens,
            seconds=self._seconds[name],
            cost=bill.cost,
            repeated=self.account.repeated.get(name, 0),
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count everything that runs inside as this stage's."""
        before, start = self.account.stage, time.perf_counter()
        self.account.stage = name
        try:
            yield
        finally:
            seconds = self._seconds.get(name, 0.0) + time.perf_counter() - start
            self._seconds[name] = seconds
            self.account.stage = before
