"""Decides which variant of an index to compile on, by what each holds of what questions want.

Evidence decides first. Where it cannot tell indexes apart, or questions have none, the same
questions are answered over each. The recipe's own index is given up only for one that is better by
more than a standard error. Knows nothing of how anything is searched or answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ragwright.optimize.questions.data import Question
from ragwright.optimize.retrieval.evidence import WantedEvidence
from ragwright.optimize.scoring.statistics import Scores, standard_error
from ragwright.optimize.variant_answers import ByAnswers
from ragwright.programs.recipe import Recipe

OWN = "recipe"
"""What the recipe's own index is called among its variants."""
FEWEST = 16
"""Answers to fewer questions than these decide nothing."""


@dataclass(frozen=True)
class VariantDecision:
    """Which index, and by what.

    Attributes:
        chosen: Its name.
        answers: Mean score of the answers over every index that was answered over.
        answered: How many questions that were.
        calls: Of the language model.
        why: Why answers decided, or could not; "" where evidence told.
    """

    chosen: str
    answers: Mapping[str, float] = field(default_factory=dict)
    answered: int = 0
    calls: int = 0
    why: str = ""


def decide_variant(
    recipes: Mapping[str, Recipe],
    held: Mapping[str, Scores],
    questions: Sequence[Question],
    by: ByAnswers | None,
) -> VariantDecision:
    """Choose an index.

    Args:
        recipes: The recipe over each index, by name.
        held: What those hold that were searched as the program does, shape (Q,) each.
        questions: The same Q questions.
        by: Asks for answers; None where nobody may.
    """
    told = _told(questions)
    left = _not_worse(held) if told else list(held)
    better = OWN if OWN in left else left[0]
    if len(left) == 1:
        return VariantDecision(better)
    why = _why(left, told=told)
    if by is None:
        return VariantDecision(better, why=f"{why} No answers were asked for.")
    done = by.answered({name: recipes[name] for name in left}, questions)
    count = len(next(iter(done.scores.values()), ()))
    if count < FEWEST:
        why += f" Too few questions could be answered to decide ({done.calls} calls)."
        return VariantDecision(better, answered=count, calls=done.calls, why=why)
    best = max(left, key=lambda name: done.scores[name].mean())
    differences = done.scores[best] - done.scores[better]
    if differences.mean() > standard_error(differences):
        better = best
    means = {name: float(scores.mean()) for name, scores in done.scores.items()}
    listed = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
    why += f" {count} questions were answered over each ({done.calls} calls): {listed}."
    return VariantDecision(better, means, count, done.calls, why)


def _told(questions: Sequence[Question]) -> bool:
    """Whether most questions tell what they want read: evidence, or an answer in named documents.

    Documents alone say least (of two indexes the one with smaller chunks reads more of them in as
    many tokens), and an answer's words alone may stand anywhere.
    """
    wanted = [WantedEvidence.by(one) for one in questions]
    clear = [one.kind == "evidence" or (one.kind == "answer" and bool(one.documents))
             for one in wanted]  # fmt: skip
    return bool(np.mean(clear) > 0.5)


def _not_worse(held: Mapping[str, Scores]) -> list[str]:
    """The index that holds most, and those that hold less by no more than a standard error."""
    best = max(held, key=lambda name: held[name].mean())
    gaps = {name: held[best] - scores for name, scores in held.items()}
    return sorted(
        (name for name, gap in gaps.items() if gap.mean() <= standard_error(gap)),
        key=lambda name: -held[name].mean(),
    )


def _why(left: Sequence[str], *, told: bool) -> str:
    named = ", ".join(repr(name) for name in left[:-1])
    if told:
        return f"What {named} and {left[-1]!r} hold differs by no more than a standard error."
    return f"Most questions have no evidence that would tell {named} from {left[-1]!r}."
