"""Candidates and knobs in, ranked passages out: the one selection function.

The live program calls it with one question, the tuner with hundreds at a time over a stored
pool. Both get the same answer because it is the same code. Pure NumPy; it knows no database, no
model and no text.

A signal is a table of scores of shape (Q, C) for Q questions and up to C candidates each, with
NaN where a source did not see a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from programs.diversity import Codes, coded, diverse
from programs.knobs import POOL_DEPTH, KnobValues
from programs.neighbours import Around, text_number

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

SOURCES = ("dense", "bm25")
RERANKERS = ("maxsim", "cross", "lm")


@dataclass(frozen=True)
class Candidates:
    """What retrieval found for Q questions, before any choice is made.

    Attributes:
        ids: For each question its candidates' ids: dense ones first, in rank order, then those
            that only BM25 found. No id occurs twice in a question.
        signals: "dense", "bm25" and, where computed, "maxsim", "cross" and "lm": shape (Q, C).
        tokens: Tokens of each candidate's text, shape (Q, C); 0 where there is none.
        texts: A number per text, shape (Q, C), the same for the same text; None if not known.
        vectors: Candidates' dense vectors by id, in 8 bits; those missing are unlike all others.
        around: What stands around candidates in their documents; nothing where not known.
    """

    ids: tuple[tuple[str, ...], ...]
    signals: Mapping[str, Floats]
    tokens: Integers
    texts: Integers | None = None
    vectors: Mapping[str, Codes] = field(default_factory=dict)
    around: Around = field(default_factory=Around)

    @classmethod
    def union(
        cls,
        dense: Mapping[str, float],
        bm25: Mapping[str, float],
        tokens: Mapping[str, int],
    ) -> Candidates:
        """Join what two sources found for one question; only ids in `tokens` are kept."""
        ids = tuple(key for key in dict.fromkeys([*dense, *bm25]) if key in tokens)
        table = {
            name: np.array([[scores.get(key, np.nan) for key in ids]], dtype=np.float32)
            for name, scores in (("dense", dense), ("bm25", bm25))
        }
        counts = np.array([[tokens[key] for key in ids]], dtype=np.int64)
        return cls((ids,), table, counts)

    @classmethod
    def merged(cls, parts: Sequence[Candidates]) -> Candidates:
        """Join what several queries found for one question.

        A candidate keeps its best score by each signal (CombMAX; Fox and Shaw, TREC-2, 1994).
        BM25 scores are first divided by the best of their query, since those of a long query are
        higher.
        """
        if len(parts) == 1:
            return parts[0]
        names = sorted({name for part in parts for name in part.signals})
        best: dict[str, dict[str, float]] = {name: {} for name in names}
        tokens: dict[str, int] = {}
        for part in parts:
            tokens |= zip(part.ids[0], part.tokens[0].tolist(), strict=True)
            for name, table in part.signals.items():
                _keep_best(
                    best[name], part.ids[0], _scaled(name, table) if name == "bm25" else table
                )
        dense, bm25 = (_sorted(best.pop(name)) for name in SOURCES)
        joined = cls.union(dense, bm25, tokens)
        columns = np.arange(len(joined.ids[0]), dtype=np.int64)[None, :]
        for name, scores in best.items():
            row = [[scores.get(id, np.nan) for id in joined.ids[0]]]
            joined = joined.with_signal(name, columns, np.array(row, dtype=np.float32))
        return joined

    @classmethod
    def stack(cls, parts: Sequence[Candidates]) -> Candidates:
        """Put several questions' candidates into one padded table."""
        width = max((part.tokens.shape[1] for part in parts), default=0)
        names = sorted({name for part in parts for name in part.signals})
        signals = {
            name: np.concatenate([_padded(part, name, width) for part in parts]) for name in names
        }
        tokens = np.concatenate([_widened(part.tokens, width) for part in parts])
        known = [part.texts for part in parts if part.texts is not None]
        texts = [_widened(table, width) for table in known] if len(known) == len(parts) else []
        ids = tuple(ids for part in parts for ids in part.ids)
        vectors = {id: vector for part in parts for id, vector in part.vectors.items()}
        around = Around.joined(part.around for part in parts)
        table = np.concatenate(texts) if texts else None
        return cls(ids, signals, tokens, table, vectors, around)

    def take(self, questions: Sequence[int]) -> Candidates:
        """Return the candidates of these questions, in this order."""
        rows = list(questions)
        signals = {name: table[rows] for name, table in self.signals.items()}
        ids = tuple(self.ids[row] for row in rows)
        texts = None if self.texts is None else self.texts[rows]
        return Candidates(ids, signals, self.tokens[rows], texts, self.vectors, self.around)

    def with_around(self, around: Around) -> Candidates:
        """Say what stands around candidates, and which hold the same text, for one question."""
        known = around.pieces
        texts = [known[id].text if id in known else text_number(id) for id in self.ids[0]]
        return replace(self, texts=np.array([texts], dtype=np.int64), around=around)

    def with_vectors(self, vectors: Mapping[str, Floats]) -> Candidates:
        """Add dense vectors of shape (d,), for diversity."""
        return replace(self, vectors={id: coded(vector) for id, vector in vectors.items()})

    def codes(self, columns: Integers) -> Codes:
        """The vectors of some candidates, shape (Q, R, d), for columns of shape (Q, R)."""
        blank = np.zeros_like(next(iter(self.vectors.values())))
        found = [
            [self.vectors.get(ids[column], blank) if column >= 0 else blank for column in row]
            for ids, row in zip(self.ids, columns.tolist(), strict=True)
        ]
        return np.array(found, dtype=np.int8).reshape(*columns.shape, len(blank))

    def with_signal(self, name: str, columns: Integers, scores: Floats) -> Candidates:
        """Add a reranker's scores for some candidates; `columns` and `scores` are (Q, R)."""
        table = np.full(self.tokens.shape, np.nan, dtype=np.float32)
        rows = np.broadcast_to(np.arange(len(columns))[:, None], columns.shape)
        real = columns >= 0
        table[rows[real], columns[real]] = scores[real]
        return replace(self, signals={**self.signals, name: table})

    def seen(self, column: int) -> dict[str, float]:
        """Return the scores that the first question's candidate in a column has."""
        row = {name: float(table[0, column]) for name, table in self.signals.items()}
        return {name: score for name, score in row.items() if not np.isnan(score)}

    @cached_property
    def ranks(self) -> Mapping[str, Integers]:
        """Rank of each candidate by dense and by BM25 score, from 0; C where unseen."""
        return {name: _ranks(self.signals[name]) for name in SOURCES}


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
    """Fuse dense and BM25 and return the columns that rerankers score, shape (Q, R)."""
    depths = {"dense": knobs.depth_dense, "bm25": knobs.depth_bm25}
    tables = {}
    for name, weight in _weights(knobs, SOURCES).items():
        seen = candidates.ranks[name] < depths[name] if weight else np.False_
        tables[name] = np.where(seen, candidates.signals[name], np.float32(np.nan))
    visible = ~np.all([np.isnan(table) for table in tables.values()], axis=0)
    scores = fuse(tables, _weights(knobs, SOURCES), knobs, visible=visible)
    return _best(scores, max(knobs.rerank_depth, knobs.k)).columns


def rank(candidates: Candidates, columns: Integers, knobs: KnobValues) -> Ranking:
    """Order the shortlisted columns by every signal that has a weight, and cut to k."""
    real = columns >= 0
    at = np.where(real, columns, 0)
    weights = _weights(knobs, (*SOURCES, *RERANKERS))
    tables = {}
    for name, weight in weights.items():
        if weight and name in candidates.signals:
            taken = np.take_along_axis(candidates.signals[name], at, axis=1)
            tables[name] = np.where(real, _within_depth(taken, candidates, name, at, knobs), np.nan)
    scores = fuse(tables, weights, knobs, visible=real)
    scores = _above_threshold(scores, knobs.score_threshold)
    if knobs.diversity and candidates.vectors and columns.size:
        picked = diverse(scores, candidates.codes(columns), knobs.diversity, knobs.k)
        best = _ranking(scores, picked)
    else:
        best = _best(scores, knobs.k)
    kept = best.columns >= 0
    chosen = np.take_along_axis(columns, np.where(kept, best.columns, 0), axis=1)
    return Ranking(np.where(kept, chosen, -1), best.scores)


def select(candidates: Candidates, knobs: KnobValues) -> Ranking:
    """Shortlist, then rank: what the live program does, over candidates with every signal."""
    return rank(candidates, shortlist(candidates, knobs), knobs)


def packed(candidates: Candidates, ranking: Ranking, context_tokens: int) -> Booleans:
    """Which ranked passages go into the context, shape (Q, k).

    In order of score, each that still fits is taken; one that does not, or whose text is there
    already, is passed over. The first is always taken: alone and too long, it is truncated rather
    than dropped.
    """
    real = ranking.columns >= 0
    at = np.where(real, ranking.columns, 0)
    sizes = np.take_along_axis(candidates.tokens, at, axis=1)
    known = candidates.texts
    texts = ranking.columns if known is None else np.take_along_axis(known, at, axis=1)
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


def fuse(
    tables: Mapping[str, Floats],
    weights: Mapping[str, float],
    knobs: KnobValues,
    *,
    visible: Booleans,
) -> Floats:
    """Add up the signals; -inf where not visible.

    "rrf": sum of weight / (constant + rank), rank from 1, nothing where unseen (Cormack, Clarke
    and Büttcher, SIGIR 2009, constant 60). "convex": the weighted mean of scaled scores (Bruch,
    Gai and Ingber, TOIS 2023), where BM25 is divided by the question's best. An unseen cosine
    counts as the lowest one seen, the most it can have been; any other unseen score as 0.
    """
    total = np.zeros(visible.shape, dtype=np.float32)
    weight_sum = sum(weights[name] for name in tables) or 1.0
    for name, table in tables.items():
        share = np.float32(weights[name] / weight_sum)
        if not share:
            continue
        if knobs.fusion == "rrf":
            ranks = _ranks(table) + 1
            total += np.where(np.isnan(table), 0, share / (knobs.rrf_constant + ranks))
        else:
            total += share * _filled(name, _scaled(name, table))
    return np.where(visible, total, np.float32(-np.inf)).astype(np.float32)


def _keep_best(best: dict[str, float], ids: Sequence[str], table: Floats) -> None:
    for id, score in zip(ids, table[0].tolist(), strict=True):
        if not np.isnan(score):
            best[id] = max(score, best.get(id, score))


def _sorted(scores: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:POOL_DEPTH])


def _weights(knobs: KnobValues, names: Sequence[str]) -> dict[str, float]:
    return {name: float(getattr(knobs, f"weight_{name}")) for name in names}


def _within_depth(
    taken: Floats, candidates: Candidates, name: str, at: Integers, knobs: KnobValues
) -> Floats:
    """Hide what a source found beyond its depth, as in the shortlist."""
    if name not in SOURCES:
        return taken
    ranks = np.take_along_axis(candidates.ranks[name], at, axis=1)
    return np.where(ranks < getattr(knobs, f"depth_{name}"), taken, np.float32(np.nan))


def _scaled(name: str, table: Floats) -> Floats:
    """Bring a signal to about 0..1: cosines are there, BM25 by its best, logits by sigmoid.

    The sigmoid is written as a tangent, which does not overflow.
    """
    if name == "bm25":
        best = np.max(table, axis=1, initial=0, where=~np.isnan(table), keepdims=True)
        return np.asarray(table / np.maximum(best, 1e-9), dtype=np.float32)
    if name == "cross":
        return np.asarray(0.5 + 0.5 * np.tanh(table / 2), dtype=np.float32)
    return table


def _filled(name: str, table: Floats) -> Floats:
    if name != "dense":
        return np.nan_to_num(table, nan=0.0)
    lowest = np.min(table, axis=1, initial=np.inf, where=~np.isnan(table), keepdims=True)
    return np.where(np.isnan(table), np.where(np.isinf(lowest), 0, lowest), table)


def _ranks(table: Floats) -> Integers:
    """Rank within each row, best first from 0; ties keep their order; C where NaN."""
    order = np.argsort(-table, axis=1, kind="stable")  # NaN comes last
    ranks = np.empty(table.shape, dtype=np.int64)
    np.put_along_axis(ranks, order, np.arange(table.shape[1])[None, :], axis=1)
    return np.where(np.isnan(table), table.shape[1], ranks)


def _best(scores: Floats, count: int) -> Ranking:
    """The columns of the highest scores, best first; -1 and NaN once they run out."""
    return _ranking(scores, np.argsort(-scores, axis=1, kind="stable")[:, :count])


def _ranking(scores: Floats, columns: Integers) -> Ranking:
    """Columns with their scores; -1 and NaN where a score is not finite."""
    taken = np.take_along_axis(scores, np.where(columns >= 0, columns, 0), axis=1)
    real = np.isfinite(taken) & (columns >= 0)
    return Ranking(np.where(real, columns, -1), np.where(real, taken, np.float32(np.nan)))


def _above_threshold(scores: Floats, threshold: float) -> Floats:
    """Hide what scores less than a share of the question's best."""
    if not threshold:
        return scores
    floor = threshold * np.max(scores, axis=1, initial=-np.inf, keepdims=True)
    return np.where(scores >= floor, scores, np.float32(-np.inf))


def _widened(table: Integers, width: int) -> Integers:
    return np.pad(table, ((0, 0), (0, width - table.shape[1])))


def _padded(part: Candidates, name: str, width: int) -> Floats:
    table = part.signals.get(name)
    if table is None:
        table = np.full(part.tokens.shape, np.nan, dtype=np.float32)
    missing = width - table.shape[1]
    return np.pad(table, ((0, 0), (0, missing)), constant_values=np.float32(np.nan))
