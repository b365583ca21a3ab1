"""Keeps back, within the caps, what the end of a compile needs: the choice and the test.

Comes in: a bench and what the baseline took. Knows nothing of how calls are counted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ragwright.optimize.repeats import repeat_count
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.spending.budget import BudgetSpent
from ragwright.optimize.spending.ledger import Bill
from ragwright.optimize.workbench import Workbench
from ragwright.programs.rag import RAG
from ragwright.retrievers.errors import CompileError

log = logging.getLogger(__name__)

CALLS_RESERVE = 1.1
"""More calls than the baseline took: retries, and replies that have to be asked for again."""

SPREADS = 2.0
"""Standard deviations of a count, which is about its root (Poisson)."""

TOKENS_RESERVE = 4.0
"""Demonstrations make learned prompts longer than the baseline's."""

_GO_ON = "Raise the cap and go on with --resume: what could be read is not paid for twice."


def tell_small_cap(bench: Workbench) -> None:
    """Say so, before anything is spent, where a cap cannot hold the least that a compile takes."""
    cap, dev = bench.meter.account.caps.calls, len(bench.splits.dev)
    least = math.ceil(2 * _questions_at_end(bench, choice=True) * CALLS_RESERVE)
    # A program of one's own may answer without a call.
    if cap is not None and cap < dev + least and isinstance(bench.student, RAG):
        log.warning(
            "With at most %d calls this compile ends after its baseline: that takes %d or more, "
            "choice and test %d. --resume goes on from there under a higher cap.",
            cap, dev, least,
        )  # fmt: skip


def _questions_at_end(bench: Workbench, *, choice: bool) -> int:
    """How many questions each of two programs answers in the test, and in the choice."""
    splits = bench.splits
    return repeat_count(bench) * len(splits.test) + (len(splits.dev) if choice else 0)


@contextmanager
def reserve_for_test(bench: Workbench, baseline: Evaluation, *, choice: bool) -> Iterator[None]:
    """Keep back what the test will need, and the choice if it is to come, by the baseline's need.

    Raises:
        CompileError: There is not so much left.
    """
    account = bench.meter.account
    bill = without_given_up(account.ledger.bills().get("baseline", Bill()), baseline)
    share = 2 * _questions_at_end(bench, choice=choice) / len(baseline.rows)
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


def without_given_up(bill: Bill, baseline: Evaluation) -> Bill:
    """What the baseline took, without replies in a form that was given up then.

    A question that failed tells no tokens: it counts as the dearest of the others.
    """
    rows = [row for row in baseline.rows if not row.error]
    if not rows:
        return bill
    failed = len(baseline.rows) - len(rows)
    prompt, completion = (
        sum(counts) + failed * max(counts)
        for counts in (
            [row.prompt_tokens for row in rows], [row.completion_tokens for row in rows]
        )
    )  # fmt: skip
    prompt, completion = min(prompt, bill.prompt_tokens), min(completion, bill.completion_tokens)
    cost = bill.cost * (prompt + completion) / max(bill.tokens, 1)
    return replace(bill, prompt_tokens=prompt, completion_tokens=completion, cost=cost)


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
