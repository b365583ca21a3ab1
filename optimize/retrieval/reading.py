"""Selects ways to read a ranking (how many passages, in what room) for answers to judge.

How many passages are read (k), in how many tokens, down to which score and how unlike each other:
no ranking metric tells, since each likes more. What can be told without a language model is how
much of what is wanted stands in the context, and how many tokens that takes. So of hundreds of
ways the one that holds most within each of a few sizes goes on, to be judged by answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.retrieval.relevance import gains
from ragwright.optimize.retrieval.replay import LabelledCandidates
from ragwright.optimize.scoring.statistics import standard_error
from ragwright.programs.knobs import KnobValues
from ragwright.programs.selection import Ranking, pack_context, select

SHARES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Sizes of the context that are tried, as shares of what is read at first."""
KS = (1, 2, 3, 5, 8, 12, 20)
THRESHOLDS = (0.5, 0.7, 0.85)
DIVERSITIES = (0.1, 0.3)
LARGEST_K = KS[-1]
LEAST_BUDGET, LARGEST_BUDGET = 64, 200_000


@dataclass(frozen=True)
class ReadingPlan:
    """One way to read a ranking.

    Attributes:
        knobs: The way.
        held: The share of what is wanted that stands in the context, by question, shape (Q,).
        tokens: How many tokens the context takes, on average.
        plain: Whether no passage is left out for its score or its likeness.
    """

    knobs: KnobValues
    held: NDArray[np.float64]
    tokens: float
    plain: bool


def context_sizes(knobs: KnobValues) -> tuple[KnobValues, ...]:
    """Fewer passages and more, in a context of that size: all there is to try without labels."""
    sizes = [_sized(knobs, share) for share in SHARES]
    return tuple(dict.fromkeys(size for size in sizes if size.k != knobs.k))


def best_contexts(labelled: LabelledCandidates, knobs: KnobValues) -> tuple[KnobValues, ...]:
    """Return the ways that hold most within each size of context, smallest first.

    A threshold or diversity is taken only where it holds more than reading plainly does by over a
    standard error of the paired differences. A way that holds no more than a smaller one is left
    out, and so is one that holds no more than `knobs` do and is no smaller.

    Args:
        labelled: Candidates and labels; only questions with a label count.
        knobs: How passages are ranked, and how they are read at first.
    """
    known = np.asarray(labelled.relevance.ideal.any(axis=1), dtype=np.bool_)
    if not known.any():
        return context_sizes(knobs)
    now = _read(labelled, select(labelled.candidates, knobs), knobs, known)
    ways = list(_ways(labelled, knobs, known))
    found = [_fullest([way for way in ways if way.tokens <= share * now.tokens * 1.02])
             for share in SHARES]  # fmt: skip
    best: list[ReadingPlan] = []
    for way in found:
        if way is None or (best and way.held.mean() <= best[-1].held.mean()):
            continue
        if way.tokens < 0.95 * now.tokens or way.held.mean() > now.held.mean():
            best.append(way)
    return tuple(way.knobs for way in best if way.knobs != knobs)


def _fullest(ways: Sequence[ReadingPlan]) -> ReadingPlan | None:
    """The way that holds most; of equals the smallest, and reading plainly unless that is worse."""
    best = max(ways, key=lambda way: (way.held.mean(), -way.tokens), default=None)
    plain = max((way for way in ways if way.plain),
                key=lambda way: (way.held.mean(), -way.tokens), default=None)  # fmt: skip
    if best is None or plain is None:
        return best
    more = best.held - plain.held
    return best if more.mean() > standard_error(more) else plain


def _ways(
    labelled: LabelledCandidates, knobs: KnobValues, known: NDArray[np.bool_]
) -> Iterator[ReadingPlan]:
    """Every way: the longest ranking is made once for each threshold and diversity, and cut."""
    thresholds = sorted({knobs.score_threshold, *THRESHOLDS})
    diversities = sorted({knobs.diversity, *DIVERSITIES})
    budgets = list(dict.fromkeys(_sized(knobs, share).context_tokens for share in SHARES))
    for threshold in thresholds:
        for diversity in diversities:
            trimmed = {"score_threshold": threshold, "diversity": diversity}
            if len([name for name in trimmed if trimmed[name] != knobs.get(name)]) > 1:
                continue  # one at a time: both say what is left out
            way = knobs.replaced(k=LARGEST_K, **trimmed)
            ranking = select(labelled.candidates, way)
            for k in sorted({*KS, min(knobs.k, LARGEST_K)}):
                cut = Ranking(ranking.columns[:, :k], ranking.scores[:, :k])
                for budget in budgets:
                    one = way.replaced(k=k, context_tokens=budget)
                    yield _read(labelled, cut, one, known, plain=_trimmed_alike(knobs, one))


def _trimmed_alike(knobs: KnobValues, other: KnobValues) -> bool:
    """Whether both leave out the same for score and likeness."""
    return (knobs.score_threshold, knobs.diversity) == (other.score_threshold, other.diversity)


def _read(
    labelled: LabelledCandidates, ranking: Ranking, knobs: KnobValues, known: NDArray[np.bool_],
    *, plain: bool = True,
) -> ReadingPlan:  # fmt: skip
    """Look at what a ranking puts into the context."""
    fits = pack_context(labelled.candidates, ranking, knobs.context_tokens)
    seen = np.where(fits, ranking.columns, -1)
    sizes = np.take_along_axis(labelled.candidates.tokens, np.where(fits, seen, 0), axis=1)
    tokens = np.minimum(np.where(fits, sizes, 0).sum(axis=1), knobs.context_tokens)
    ideal = labelled.relevance.ideal.sum(axis=1)[known]
    held = gains(labelled.relevance, seen, labelled.beside(seen, knobs)).sum(axis=1)[known] / ideal
    return ReadingPlan(knobs, held, float(tokens[known].mean()), plain)


def _sized(knobs: KnobValues, share: float) -> KnobValues:
    """So many times the passages, in so many times the room."""
    k = max(1, min(LARGEST_K, round(share * knobs.k)))
    room = max(LEAST_BUDGET, min(LARGEST_BUDGET, round(share * knobs.context_tokens)))
    return knobs.replaced(k=k, context_tokens=room)


def larger_contexts(knobs: KnobValues) -> list[KnobValues]:
    """More passages, for a program that reads all of them as they come."""
    return [knobs.replaced(k=min(50, 2 * knobs.k))]
