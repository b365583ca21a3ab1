"""Finds the retrieval settings that give the best answers on dev, all under the same prompts.

Keeps a record of everything that competed. Knows nothing of where settings and prompts come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ragwright.optimize.candidates import Candidate, CompileStage
from ragwright.optimize.halving import halve
from ragwright.optimize.prompts.state import Prompts, prompts_of
from ragwright.optimize.questions.data import Question
from ragwright.optimize.result import Variant
from ragwright.optimize.retrieval.reading import larger_contexts
from ragwright.optimize.retrieval.search import reading_variations, reranking_variations
from ragwright.optimize.scoring.evaluate import Evaluation
from ragwright.optimize.setting import Setting
from ragwright.optimize.workbench import Workbench


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
