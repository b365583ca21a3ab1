"""Keeps back, within the caps, what the end of a compile needs: the choice and the test.

Comes in: a bench and what the baseline took. Knows nothing of how calls are counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from ragwright.optimize.repeats import repeat_count
from ragwright.optimize.scoring.evaluate import Evaluation
from ragwright.optimize.spending.budget import BudgetSpent
from ragwright.optimize.spending.ledger import Bill
from ragwright.optimize.workbench import Workbench
from ragwright.retrievers.errors import CompileError

CALLS_RESERVE = 1.1
"""More calls than the baseline took: retries, and replies that have to be asked for again."""

SPREADS = 2.0
"""Standard deviations of a count, which is about its root (Poisson)."""

TOKENS_RESERVE = 4.0
"""Demonstrations make learned prompts longer than the baseline's."""

_GO_ON = "Raise the cap and go on with --resume: what could be read is not paid for twice."


@contextmanager
def reserve_for_test(bench: Workbench, baseline: Evaluation, *, choice: bool) -> Iterator[None]:
    """Keep back what the test will need, and the choice if it is to come, by the baseline's need.

    Raises:
        CompileError: There is not so much left.
    """
    account, splits = bench.meter.account, bench.splits
    bill = account.ledger.bills().get("baseline", Bill())
    questions = repeat_count(bench) * len(splits.test) + (len(splits.dev) if choice else 0)
    share = 2 * questions / len(baseline.rows)
    calls = bill.calls * share * CALLS_RESERVE
    # Where replies could not be read and were asked for again, the number is one of chance.
    calls += SPREADS * math.sqrt(calls) if baseline.unreadable else 0
    held = Bill(
        math.ceil(calls),
        round(bill.prompt_tokens * share * TOKENS_RESERVE),
        round(bill.completion_tokens * share * TOKENS_RESERVE),
        bill.cost * share * TOKENS_RESERVE,
    )
    caps, needed = account.caps, account.spent + held
    if (caps.calls is not None and needed.calls > caps.calls) or (
        caps.tokens is not None and needed.tokens > caps.tokens
    ):
        what = "The choice and the held-out test need" if choice else "The held-out test needs"
        raise CompileError(
            f"{what} about {held.calls} calls and {held.tokens} tokens more: {account.described}.",
            hint=_GO_ON,
        )
    with account.holding(held):
        yield


@contextmanager
def translate_cap_reached(what: str) -> Iterator[None]:
    """Turn a cap that is reached inside into an error, where no best so far can be gone on with.

    Args:
        what: Could not be done, in a sentence without its full stop.

    Raises:
        CompileError: A cap was reached inside.
    """
    try:
        yield
    except BudgetSpent as signal:
        raise CompileError(f"{what}: {signal}.", hint=_GO_ON) from signal
