"""How the context is filled, and how small it may be: recall inside budgets, over settings.

A passage that was found but did not fit was not read. Everything is replayed from one pool per
index; what is compared is compared at equal tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.scoring.statistics import Gain, paired_gain
from ragwright.optimize.study.pooling import StudyQuestions
from ragwright.optimize.study.retrieval import score_as_read
from ragwright.programs.knobs import KnobValues

BUDGETS = (256, 512, 1024, 2048, 4096)
MOST_PASSAGES = 50


@dataclass(frozen=True)
class ContextRow:
    """One way of filling the context.

    Attributes:
        index: The recipe's index, or the variant that it was measured on.
        neighbours: Chunks to either side that come along.
        budget: Tokens that the passages may fill.
        recall: Mean share of the wanted facts that are read.
        tokens: Mean tokens that are filled.
        passages: Mean passages that are read.
        lost: Share of questions whose evidence was found within the first 50 but did not fit.
    """

    index: str
    neighbours: int
    budget: int
    recall: float
    tokens: float
    passages: float
    lost: float


@dataclass(frozen=True)
class ContextStudy:
    """What was found.

    Attributes:
        rows: Every way of filling, by budget.
        best: The best of all.
        chosen: The one with the fewest tokens that is not worse than the best within the margin.
        losses: Each row against the best, paired by question.
        margin: A loss of recall that does not matter.
        questions: How many questions had a label in every index.
        prompt: Tokens of the prompt by part: instructions, demonstrations, question.
    """

    rows: tuple[ContextRow, ...]
    best: ContextRow
    chosen: ContextRow
    losses: tuple[Gain, ...]
    margin: float
    questions: int
    prompt: Mapping[str, int]

    @property
    def loss(self) -> Gain:
        """The chosen one against the best."""
        return self.losses[self.rows.index(self.chosen)]

    @property
    def recipe_lines(self) -> str:
        """The lines to paste into the recipe: as it was measured, so that the budget decides."""
        lines = ["[knobs]", f"context_tokens = {self.chosen.budget}", f"k = {MOST_PASSAGES}"]
        if self.chosen.neighbours:
            lines.append(f"neighbours = {self.chosen.neighbours}")
        if self.chosen.index != "recipe":
            lines.append(f"# and the keys of [index.variants.{self.chosen.index}] under [index]")
        return "\n".join(lines)


def study_context(
    indexes: Mapping[str, StudyQuestions],
    knobs: KnobValues,
    *,
    budgets: Sequence[int] = BUDGETS,
    neighbours: Sequence[int] = (0, 1),
    margin: float = 0.01,
    prompt: Mapping[str, int] | None = None,
    seed: int = 0,
) -> ContextStudy:
    """Fill contexts of several budgets from one or more indexes of the same documents.

    Args:
        indexes: By name; "recipe" is the recipe's own, others are its variants.
        knobs: How passages are ranked.
        budgets: Tokens that the passages may fill.
        neighbours: How many chunks to either side are tried.
        margin: A loss of recall, from 0 to 1, that does not matter.
        prompt: Tokens of the other parts of the prompt, for the report.
        seed: Of intervals.
    """
    common = _common(indexes)
    filled: list[tuple[ContextRow, NDArray[np.float64]]] = []
    for (name, studied), reach, budget in product(indexes.items(), neighbours, budgets):
        ids = [question.id for question in studied.questions]
        rows = [ids.index(id) for id in common]
        filled.append(_filled(name, studied, rows, knobs.replaced(
            k=MOST_PASSAGES, context_tokens=budget, neighbours=reach, score_threshold=0.0
        )))  # fmt: skip
    best, best_scores = max(filled, key=lambda pair: (pair[0].recall, -pair[0].tokens))
    first = next(iter(indexes.values()))
    groups = [question.group for question in first.questions if question.id in set(common)]
    judged = [
        (row, paired_gain(best_scores, scores, groups=groups, seed=seed)) for row, scores in filled
    ]
    good = [(row, gain) for row, gain in judged if gain.low >= -margin or row is best]
    chosen, _ = min(good, key=lambda pair: (pair[0].tokens, -pair[0].recall))
    found, losses = zip(*judged, strict=True)
    return ContextStudy(found, best, chosen, losses, margin, len(common), prompt or {})


def _common(indexes: Mapping[str, StudyQuestions]) -> list[str]:
    """Ids of the questions that have a label in every index, in the order of the first."""
    known = [{question.id for question in studied.questions} for studied in indexes.values()]
    shared = set.intersection(*known)
    first = next(iter(indexes.values()))
    return [question.id for question in first.questions if question.id in shared]


def _filled(
    name: str, studied: StudyQuestions, rows: Sequence[int], knobs: KnobValues
) -> tuple[ContextRow, NDArray[np.float64]]:
    labelled = studied.labelled()
    scores, tokens = score_as_read(labelled, knobs)
    wide, _ = score_as_read(labelled, knobs.replaced(context_tokens=200_000))
    recall, found = scores["read recall"][rows], wide["read recall"][rows]
    row = ContextRow(
        index=name,
        neighbours=knobs.neighbours,
        budget=knobs.context_tokens,
        recall=float(recall.mean()),
        tokens=float(tokens[rows].mean()),
        passages=float(scores["passages"][rows].mean()),
        lost=float((found > recall).mean()),
    )
    return row, recall
