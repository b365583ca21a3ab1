"""The one selection function: ranks candidates by knobs, live and in replay.

The live program calls it with one question, the tuner with hundreds at a time over a stored
pool. Both get the same answer because it is the same code. Pure NumPy; it knows no database, no
model and no text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ragwright.programs.candidates import Candidates
from ragwright.programs.diversity import pick_diverse
from ragwright.programs.fusion import Booleans, fuse_signals, take_columns
from ragwright.programs.knobs import KnobValues
from ragwright.retrievers.embedding.base import Floats, Integers


@dataclass(frozen=True)
class Ranking:
    """Which candidates come out, best first.

    Attributes:
        columns: Shape (Q, k): positions in `Candidates.ids`, -1 where there are fewer than k.
        scores: Shape (Q, k): the score they are ordered by; NaN where there is none.
    """

    columns: Integers
    scores: Floats


def shortlist(candidates: Candidates, knobs: KnobValues) -> Integers:
    """Fuse the sources and return the columns that rerankers score, shape (Q, R).

    Of candidates with the same text the best alone is kept, so that copies take no other's place.
    """
    tables = {}
    for name, ranks in candidates.ranks.items():
        seen = ranks < knobs.depth(name) if knobs.weight(name) else np.False_
        tables[name] = np.where(seen, candidates.signals[name], np.float32(np.nan))
    visible = ~np.all([np.isnan(table) for table in tables.values()], axis=0)
    scores = fuse_signals(tables, candidates.by_signal, knobs, visible=visible)
    scores = _without_copies(scores, candidates)
    return _best(scores, max(knobs.rerank_depth, knobs.k)).columns


def rank(candidates: Candidates, columns: Integers, knobs: KnobValues) -> Ranking:
    """Order the shortlisted columns by every signal that has a weight, and cut to k."""
    real = columns >= 0
    at = np.where(real, columns, 0)
    tables = {}
    for name in _in_order(candidates):
        if knobs.weight(name):
            taken = take_columns(candidates.signals[name], at)
            tables[name] = np.where(real, _within_depth(taken, candidates, name, at, knobs), np.nan)
    scores = fuse_signals(tables, candidates.by_signal, knobs, visible=real)
    scores = _above_threshold(scores, knobs.score_threshold)
    if knobs.diversity and candidates.vectors and columns.size:
        picked = pick_diverse(scores, candidates.codes(columns), knobs.diversity, knobs.k)
        best = _ranking(scores, picked)
    else:
        best = _best(scores, knobs.k)
    kept = best.columns >= 0
    chosen = take_columns(columns, np.where(kept, best.columns, 0))
    return Ranking(np.where(kept, chosen, -1), best.scores)


def select(candidates: Candidates, knobs: KnobValues) -> Ranking:
    """Shortlist, then rank: what the live program does, over candidates with every signal."""
    return rank(candidates, shortlist(candidates, knobs), knobs)


def pack_context(candidates: Candidates, ranking: Ranking, context_tokens: int) -> Booleans:
    """Which ranked passages go into the context, shape (Q, k).

    In order of score, each that still fits is taken; one that does not, or whose text is there
    already, is passed over. The first is always taken: alone and too long, it is truncated rather
    than dropped.
    """
    real = ranking.columns >= 0
    at = np.where(real, ranking.columns, 0)
    sizes = take_columns(candidates.tokens, at)
    known = candidates.texts
    texts = ranking.columns if known is None else take_columns(known, at)
    left = np.full(len(sizes), context_tokens, dtype=np.int64)
    taken = np.zeros(real.shape, dtype=np.bool_)
    for place in range(real.shape[1]):
        repeated = (taken[:, :place] & (texts[:, :place] == texts[:, place : place + 1])).any(
            axis=1
        )
        fits = real[:, place] & ~repeated & ((sizes[:, place] <= left) | (place == 0))
        taken[:, place] = fits
        left -= np.where(fits, sizes[:, place], 0)
    return taken


def _in_order(candidates: Candidates) -> list[str]:
    """Sources, then rerankers by name: sums of floats depend on their order."""
    return sorted(candidates.signals, key=lambda name: (name not in candidates.ranks, name))


def _within_depth(
    taken: Floats, candidates: Candidates, name: str, at: Integers, knobs: KnobValues
) -> Floats:
    """Hide what a source found beyond its depth, as in the shortlist."""
    if name not in candidates.ranks:
        return taken
    ranks = take_columns(candidates.ranks[name], at)
    return np.where(ranks < knobs.depth(name), taken, np.float32(np.nan))


def _best(scores: Floats, count: int) -> Ranking:
    """The columns of the highest scores, best first; -1 and NaN once they run out."""
    return _ranking(scores, np.argsort(-scores, axis=1, kind="stable")[:, :count])


def _ranking(scores: Floats, columns: Integers) -> Ranking:
    """Columns with their scores; -1 and NaN where a score is not finite."""
    taken = take_columns(scores, np.where(columns >= 0, columns, 0))
    real = np.isfinite(taken) & (columns >= 0)
    return Ranking(np.where(real, columns, -1), np.where(real, taken, np.float32(np.nan)))


def _without_copies(scores: Floats, candidates: Candidates) -> Floats:
    """Hide what has the text of a better candidate."""
    rows = candidates.with_copies
    if candidates.texts is None or not len(rows):
        return scores
    order = np.argsort(-scores[rows], axis=1, kind="stable")
    texts = take_columns(candidates.texts[rows], order)
    together = np.argsort(texts, axis=1, kind="stable")  # copies side by side, the best first
    texts = take_columns(texts, together)
    copies = np.zeros(texts.shape, dtype=np.bool_)
    copies[:, 1:] = texts[:, 1:] == texts[:, :-1]
    places = take_columns(order, together)
    hidden = np.zeros(scores.shape, dtype=np.bool_)
    hidden[rows[:, None], places] = copies
    return np.where(hidden, np.float32(-np.inf), scores)


def _above_threshold(scores: Floats, threshold: float) -> Floats:
    """Hide what scores less than a share of the question's best."""
    if not threshold:
        return scores
    floor = threshold * np.max(scores, axis=1, initial=-np.inf, keepdims=True)
    return np.where(scores >= floor, scores, np.float32(-np.inf))
