"""Estimates how many calls and tokens a compile will take, before it is begun.

A few dev questions are answered live and counted; the rest is arithmetic over the stages. What
an optimizer takes it estimates itself, generously: caps, not this, keep a compile in bounds.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from ragwright.optimize.prompts.lesson import OptimizerSettings
from ragwright.optimize.repeats import repeat_count
from ragwright.optimize.result import BASELINE, Variant
from ragwright.optimize.retrieval.reading import SHARES
from ragwright.optimize.retrieval.search import reading_variations
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.scoring.statistics import Power
from ragwright.optimize.workbench import Workbench

log = logging.getLogger(__name__)

PROBE = 5
"""Questions that are answered for an estimate."""
TOLD_SECONDS = 600.0
"""A compile that takes longer is told so."""
CONTENDERS = 3
"""Indexes that answers have to choose among, at most."""


@dataclass(frozen=True, slots=True)
class StageNeed:
    """What one stage is estimated to take.

    Attributes:
        stage: Its name.
        questions: How often a question is answered.
        calls: LM calls.
        tokens: Prompt and completion tokens.
    """

    stage: str
    questions: int
    calls: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a compile is estimated to take, and what finding that out took.

    Attributes:
        needs: By stage.
        probed: Questions that were answered for it.
        spent: LM calls that were made for it.
        cost: US dollars for the whole, 0 where no price is known.
        seconds: For the whole, at the pace at which these questions were answered.
        power: What the test questions can show.
    """

    needs: tuple[StageNeed, ...]
    probed: int
    spent: int
    cost: float
    seconds: float
    power: Power

    @property
    def calls(self) -> int:
        """LM calls of all stages."""
        return sum(need.calls for need in self.needs)

    @property
    def tokens(self) -> int:
        """Tokens of all stages."""
        return sum(need.tokens for need in self.needs)


def estimate_calls(bench: Workbench, optimizer: OptimizerSettings) -> Estimate:
    """Answer `PROBE` dev questions and work out the rest."""
    probe = bench.splits.dev[:PROBE]
    with bench.meter.stage("probe"):
        done = bench.answered(Variant(BASELINE, bench.baseline), probe, live=True)
    account = bench.meter.account
    bill = account.ledger.bills().get("probe")
    calls, tokens = (bill.calls, bill.tokens) if bill else (0, 0)
    rates = calls / len(probe), tokens / len(probe)
    needs = [_need(stage, count, *rates) for stage, count in _answers(bench, optimizer).items()]
    total = sum(need.calls for need in needs)
    cost = bill.cost / max(1, bill.calls) * total if bill else 0.0
    power = Power.of([question.group for question in bench.splits.test])
    return Estimate(tuple(needs), len(probe), calls, cost, _duration(bench, optimizer, done), power)


def tell_duration(bench: Workbench, optimizer: OptimizerSettings, done: Evaluation) -> None:
    """Say how long a compile will take after its baseline, where that is long."""
    seconds = _duration(bench, optimizer, done)
    if seconds > TOLD_SECONDS:
        log.warning(
            "At %.0f s an answer, %d at a time, this compile takes up to %s. Ctrl-C ends it, and "
            "--resume goes on; a lower max_tokens under [lm] makes replies shorter, --max-seconds "
            "keeps it within a time.",
            _seconds_each(done), bench.pace.threads, duration_as_text(seconds),
        )  # fmt: skip


def duration_as_text(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 2 * 60:
        return f"{seconds:.0f} seconds"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _duration(bench: Workbench, optimizer: OptimizerSettings, done: Evaluation) -> float:
    answers = sum(_answers(bench, optimizer).values())
    return answers * _seconds_each(done) / bench.pace.threads


def _seconds_each(done: Evaluation) -> float:
    return sum(row.seconds for row in done.rows) / len(done.rows)


def _need(stage: str, questions: int, calls: float, tokens: float) -> StageNeed:
    return StageNeed(stage, questions, math.ceil(questions * calls), math.ceil(questions * tokens))


def _answers(bench: Workbench, optimizer: OptimizerSettings) -> dict[str, int]:
    """How often a question is answered, by stage."""
    splits, section = bench.splits, bench.recipe.compile
    dev, test = len(splits.dev), len(splits.test)
    settings = section.shortlist + len(SHARES) + 1
    ways = sum(len(reading_variations(knobs)) for knobs in bench.start.values())
    started, cycles = bench.start != bench.baseline, section.cycles
    choosing = min(len(splits.train) + dev, section.variant_calls // CONTENDERS) * CONTENDERS
    learning = optimizer.estimated_answers(len(splits.train), dev)
    return {
        **({"variants": choosing} if section.variants else {}),
        "baseline": dev,
        "halving": math.ceil(settings / 2) * dev,
        "prompts": (section.finalists + cycles - 1) * learning,
        "shortlist": cycles * (math.ceil(settings / 2) + ways) * dev,
        "choice": (2 + started) * dev,
        "test": (4 + started) * repeat_count(bench) * test,
    }
