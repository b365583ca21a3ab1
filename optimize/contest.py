"""Retrieval settings in, those with the best answers on dev out, under the same prompts.

Keeps a record of everything that competed. Knows nothing of where settings and prompts come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ragwright.optimize.bench import Bench
from ragwright.optimize.candidates import Candidate, Stage
from ragwright.optimize.halving import halve
from ragwright.optimize.prompts.state import prompt_hash
from ragwright.optimize.questions.data import Question
from ragwright.optimize.result import Variant
from ragwright.optimize.scoring.evaluate import Evaluation
from ragwright.programs.knobs import KnobValues
from ragwright.programs.rag import RAG


@dataclass(frozen=True)
class Contest:
    """Lets settings compete.

    Attributes:
        bench: Answers the questions.
        learned: Whose prompts they are answered with; None for the ones written by hand.
        judged: Gets a record of every setting, in order, also where a cap ends it.
    """

    bench: Bench
    learned: RAG | None
    judged: list[Candidate]

    def best(
        self, stage: Stage, entries: Sequence[KnobValues], *, keep: int = 1, defends: bool = False
    ) -> list[tuple[KnobValues, Evaluation]]:
        """Return the `keep` best settings with their answers to all of dev; see `halve`.

        Raises:
            BudgetSpent: A cap was reached.
        """
        bench = self.bench
        asked: dict[KnobValues, Evaluation] = {}

        def judge(knobs: KnobValues, questions: Sequence[Question]) -> Evaluation:
            variant = Variant("shortlist", knobs, self.learned)
            asked[knobs] = bench.answered(variant, questions, live=False)
            return asked[knobs]

        seed = bench.recipe.compile.seed
        prompts = prompt_hash(self.learned or bench.student(entries[0]))
        try:
            return halve(entries, bench.splits.dev, judge, keep=keep, seed=seed, defends=defends)
        finally:
            self.judged.extend(
                Candidate(f"{stage} {number}", stage, knobs, prompts, done.mean, len(done.rows))
                for number, (knobs, done) in enumerate(asked.items(), start=1)
            )
