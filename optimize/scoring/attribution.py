"""Wrong answers in, the stage that lost each of them out.

Replays the selection and looks where the wanted facts were last seen. Knows nothing of how
answers were scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from ragwright.optimize.retrieval.relevance import gains
from ragwright.optimize.retrieval.replay import Labelled
from ragwright.programs.knobs import KnobValues
from ragwright.programs.selection import select

Failure = Literal[
    "not in corpus",
    "not in pool",
    "lost in fusion or rerank",
    "cut by the budget",
    "in context but misread",
]
FAILURES: tuple[Failure, ...] = get_args(Failure)


def attribute(labelled: Labelled, knobs: KnobValues) -> tuple[Failure, ...]:
    """Say for each question where it fails, if its answer is wrong.

    A question that wants several facts fails at the earliest stage that lost one, unless
    neighbours of what was retrieved bring all of them into the context.
    """
    wanted = labelled.relevance.ideal.sum(axis=1)
    ranking = select(labelled.candidates, knobs)
    seen = labelled.packed(ranking, knobs)
    read = gains(labelled.relevance, seen, labelled.beside(seen, knobs)).sum(axis=1)
    stages = (
        labelled.relevance.facts.any(axis=1).sum(axis=1),
        gains(labelled.relevance, ranking.columns).sum(axis=1),
        read,
    )
    lost = np.stack([wanted == 0, *((found < wanted) & (read < wanted) for found in stages)])
    first = np.where(lost.any(axis=0), lost.argmax(axis=0), len(lost))
    return tuple(FAILURES[place] for place in first)


def count_failures(failures: Sequence[Failure], wrong: Sequence[bool]) -> Mapping[Failure, int]:
    """Count the failures of the wrong answers, every kind named."""
    counted = Counter(
        failure for failure, is_wrong in zip(failures, wrong, strict=True) if is_wrong
    )
    return {failure: counted[failure] for failure in FAILURES}
