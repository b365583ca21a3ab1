"""Finds the retrieval settings that give the best answers on dev, all under the same prompts.

By successive halving (Jamieson and Talwalkar, AISTATS 2016): every rung asks twice as many
questions of half as many settings, so that a weak one costs little. Keeps a record of everything
that competed. Knows nothing of where settings and prompts come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ragwright.optimize.candidates import Candidate, CompileStage
from ragwright.optimize.prompts.state import Prompts, prompts_of
from ragwright.optimize.questions.data import Question
from ragwright.optimize.result import Variant
from ragwright.optimize.retrieval.reading import larger_contexts
from ragwright.optimize.retrieval.search import reading_variations, reranking_variations
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.scoring.statistics import clearly_below
from ragwright.optimize.setting import Setting
from ragwright.optimize.workbench import Workbench

T = TypeVar("T")
LEAST = 8
"""Fewer questions than these tell no entry from another."""


@dataclass(frozen=True)
class Contest:
    """Lets settings compete.

    Attributes:
        bench: Answers the questions.
        learned: Whose prompts they are answered with; None for the ones written by hand.
        judged: Gets a record of every setting, in order, also where a cap ends it.
    """

    bench: Workbench
    learned: Prompts | None
    judged: list[Candidate]

    def best(
        self,
        stage: CompileStage,
        entries: Sequence[Setting],
        *,
        keep: int = 1,
        defends: bool = False,
    ) -> list[tuple[Setting, Evaluation]]:
        """Return the `keep` best settings with their answers to all of dev; see `halve`.

        Raises:
            BudgetSpent: A cap was reached.
        """
        bench = self.bench
        asked: dict[Setting, Evaluation] = {}

        def judge(setting: Setting, questions: Sequence[Question]) -> Evaluation:
            variant = Variant("shortlist", setting, self.learned)
            asked[setting] = bench.answered(variant, questions, live=False)
            return asked[setting]

        seed = bench.recipe.compile.seed
        prompts = self.learned or prompts_of(bench.student)
        try:
            return halve(entries, bench.splits.dev, judge, keep=keep, seed=seed, defends=defends)
        finally:
            self.judged.extend(
                Candidate.of(f"{stage} {number}", stage, setting, prompts, done)
                for number, (setting, done) in enumerate(asked.items(), start=1)
            )


def reading_alternatives(bench: Workbench, best: Setting) -> list[Setting]:
    """Return settings that rank alike and fill the context otherwise, one change each."""
    ways = [
        best.having(place, knobs)
        for place, values in best.items()
        for knobs in (reading_variations(values) if bench.packs(place) else larger_contexts(values))
    ]
    return [way for way in dict.fromkeys(ways) if way != best]


def reranking_alternatives(bench: Workbench, best: Setting) -> list[Setting]:
    """Return settings that give a language model as reranker another weight, stage by stage."""
    return [
        best.having(place, knobs)
        for place, values in best.items()
        for knobs in reranking_variations(values, bench.start[place])
    ]


def halve(
    entries: Sequence[T],
    questions: Sequence[Question],
    judge: Callable[[T, Sequence[Question]], Evaluation],
    *,
    keep: int = 1,
    seed: int = 0,
    defends: bool = False,
) -> list[tuple[T, Evaluation]]:
    """Return the `keep` best entries, best first, with their evaluation on all questions.

    Of equals, the earlier entry is better. If the first one `defends`, it is among those that are
    asked everything, and only another that is better there by more than one standard error of the
    paired differences goes before it: the best of several on few questions is in part the luckiest,
    and the first one was chosen for other reasons too.
    """
    left = list(entries)
    order = np.random.default_rng(seed).permutation(len(questions)).tolist()
    for size in _rungs(len(left), len(questions), keep):
        asked = [questions[place] for place in sorted(order[:size])]
        ranked = _ranked([(entry, judge(entry, asked)) for entry in left])
        left = [entry for entry, _ in ranked[: max(keep, math.ceil(len(left) / 2))]]
    if defends:
        left = [entries[0], *(entry for entry in left if entry != entries[0])]
    judged = [(entry, judge(entry, questions)) for entry in left]
    first, ranked = judged[0], _ranked(judged)
    if defends and not clearly_below(first[1].scores, ranked[0][1].scores):
        ranked = [first, *(pair for pair in ranked if pair is not first)]
    return ranked[:keep]


def _rungs(entries: int, questions: int, keep: int) -> list[int]:
    """How many questions each rung asks, the last one on all of them left out."""
    rounds = max(0, math.ceil(math.log2(entries / keep)))
    sizes = [questions // 2 ** (rounds - number) for number in range(rounds)]
    return [size for size in sizes if size >= LEAST]


def _ranked(judged: list[tuple[T, Evaluation]]) -> list[tuple[T, Evaluation]]:
    return sorted(judged, key=lambda pair: -pair[1].mean)
