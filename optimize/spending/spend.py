"""What each stage of a compile spent: calls, tokens, money, seconds, processor time and memory.

Knows nothing of caps or of what the stages do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from ragwright.optimize.spending.budget import Account
from ragwright.optimize.spending.ledger import Bill


@dataclass(frozen=True, slots=True)
class StageSpend:
    """What one stage spent.

    Attributes:
        stage: Its name.
        calls: LM calls that went out, retries included.
        prompt_tokens: As the provider counts them.
        completion_tokens: As above.
        seconds: Wall clock.
        cost: US dollars, 0 where no price is known.
        repeated: Calls answered from the ledger, at no cost.
        cpu_seconds: Processor time of this process, all threads together.
        peak_memory: Most memory that this process had held by the end of the stage, in MB; 0
            where the system doesn't say.
    """

    stage: str
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    repeated: int = 0
    cpu_seconds: float = 0.0
    peak_memory: float = 0.0

    @property
    def tokens(self) -> int:
        """Of prompts and completions together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class _Used:
    """What a stage took of the machine."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: float = 0.0


class SpendMeter:
    """Tells what each stage spent; the stages run one after the other."""

    def __init__(self, account: Account | None = None) -> None:
        self.account = account or Account()
        self._used: dict[str, _Used] = {}

    @property
    def stages(self) -> tuple[StageSpend, ...]:
        """One entry per stage that was begun, in order; what interrupted runs spent is in it.

        Those that the run spent something in before this meter was there come first.
        """
        bills = self.account.ledger.bills()
        before = [name for name in bills if name not in self._used]
        return tuple(self._spend(name, bills.get(name, Bill())) for name in (*before, *self._used))

    def _spend(self, name: str, bill: Bill) -> StageSpend:
        return StageSpend(
            stage=name,
            calls=bill.calls,
            prompt_tokens=bill.prompt_tokens,
            completion_tokens=bill.completion_tokens,
            cost=bill.cost,
            repeated=self.account.repeated.get(name, 0),
            **asdict(self._used.get(name, _Used())),
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count everything that runs inside as this stage's."""
        before, start, processor = self.account.stage, time.perf_counter(), time.process_time()
        self.account.stage = name
        try:
            yield
        finally:
            used = self._used.get(name, _Used())
            self._used[name] = _Used(
                used.seconds + time.perf_counter() - start,
                used.cpu_seconds + time.process_time() - processor,
                _peak_memory(),
            )
            self.account.stage = before


def _peak_memory() -> float:
    if sys.platform == "win32":
        return 0.0
    import resource

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (1e6 if sys.platform == "darwin" else 1e3)
