"""Successive halving: judges many entries on few questions, and the best of them on all.

As of Jamieson and Talwalkar (AISTATS 2016): every rung asks twice as many questions
of half as many entries, so that a weak entry costs little. Knows nothing of what is judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ragwright.optimize.questions.data import Question
from ragwright.optimize.scoring.evaluate import Evaluation
from ragwright.optimize.scoring.statistics import clearly_below

T = TypeVar("T")
LEAST = 8
"""Fewer questions than these tell no entry from another."""


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
