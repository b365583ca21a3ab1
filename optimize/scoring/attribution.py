"""Attributes each wrong answer to the stage that lost it.

Replays the selection and looks where the wanted facts were last seen. Knows nothing of how
answers were scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from ragwright.optimize.retrieval.relevance import facts_at_ranks
from ragwright.optimize.retrieval.replay import LabelledCandidates
from ragwright.optimize.scoring.ranking import Gains
from ragwright.programs.fusion import Booleans
from ragwright.programs.knobs import KnobValues
from ragwright.programs.selection import select

Failure = Literal[
    "not in corpus",
    "not in pool",
    "lost in fusion or rerank",
    "cut by the budget",
    "in context but misread",
    "no label",
]
FAILURES: tuple[Failure, ...] = get_args(Failure)


def attribute(labelled: LabelledCandidates, knobs: KnobValues) -> tuple[Failure, ...]:
    """Say for each question where it fails, if its answer is wrong.

    A question that wants several facts fails at the earliest stage that lost one, unless
    neighbours of what was retrieved bring all of them into the context.
    """
    return first_losses(labelled.relevance.wanted, *seen_by_stage(labelled, knobs))


def seen_by_stage(
    labelled: LabelledCandidates, knobs: KnobValues
) -> tuple[Booleans, Booleans, Booleans]:
    """The facts among the candidates, among what is ranked, and in the context, each (Q, F)."""
    ranking = select(labelled.candidates, knobs)
    seen = labelled.packed(ranking, knobs)
    beside = labelled.beside(seen, knobs)
    return (
        np.asarray(labelled.relevance.facts.any(axis=1)),
        np.asarray(facts_at_ranks(labelled.relevance, ranking.columns).any(axis=1)),
        np.asarray(facts_at_ranks(labelled.relevance, seen, beside).any(axis=1)),
    )


def first_losses(
    wanted: Gains, candidates: Booleans, ranked: Booleans, read: Booleans
) -> tuple[Failure, ...]:
    """Say for each question where the first of its facts was lost.

    Args:
        wanted: How many facts there are, shape (Q,); NaN where nothing tells.
        candidates: Those among the candidates, shape (Q, F).
        ranked: Those among what is ranked.
        read: Those in the context.
    """
    got = read.sum(axis=1)
    stages = (table.sum(axis=1) for table in (candidates, ranked, read))
    lost = np.stack([wanted == 0, *((found < wanted) & (got < wanted) for found in stages)])
    first = np.where(lost.any(axis=0), lost.argmax(axis=0), len(lost))
    first = np.where(np.isnan(wanted), FAILURES.index("no label"), first)
    return tuple(FAILURES[place] for place in first)


def count_failures(failures: Sequence[Failure], wrong: Sequence[bool]) -> Mapping[Failure, int]:
    """Count the failures of the wrong answers, every kind named."""
    counted = Counter(
        failure for failure, is_wrong in zip(failures, wrong, strict=True) if is_wrong
    )
    return {failure: counted[failure] for failure in FAILURES}
