"""Replays retrieval: scores any knobs on stored candidates, as a live search would be scored.

Runs the live program's own selection function over all questions at once; no database and no
model is touched. Knows nothing of how knobs are proposed or chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ragwright.optimize.retrieval.relevance import Relevance, gains
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.scoring.statistics import Scores
from ragwright.programs.candidates import Candidates
from ragwright.programs.fusion import Booleans
from ragwright.programs.knobs import LEARNED, KnobValues
from ragwright.programs.neighbours import choose_neighbours
from ragwright.programs.selection import Ranking, pack_context, select
from ragwright.programs.signals import SOURCES, WEIGHT
from ragwright.retrievers.embedding.base import Integers

READ = "read recall"
"""How much of what is wanted stands in the context: as many passages as k and the budget allow."""
TABLE_METRICS = ("ndcg@10", "recall@10", "mrr@10")


@dataclass(frozen=True)
class RetrievalRow:
    """How well one way of retrieving ranks: the mean of each metric over labelled questions.

    Attributes:
        name: Such as "dense" or "hybrid".
        n: Questions with a label in the index.
        means: Metric name to mean, from 0 to 1: "read recall" of what is read, the others of the
            first ten, however many are read.
        k: How many passages it reads.
    """

    name: str
    n: int
    means: Mapping[str, float]
    k: int = 10


@dataclass(frozen=True)
class LabelledCandidates:
    """Candidates of Q questions together with what is relevant among them."""

    candidates: Candidates
    relevance: Relevance

    def scores(self, knobs: KnobValues, metric: RankingMetric) -> Scores:
        """Score what is ranked and fits into the context, shape (Q,); NaN where no label.

        As many passages as the metric counts are ranked, whatever `knobs.k` says: a retrieval
        metric always likes more of them, so how many is for the answers to decide. What counts is
        the retrieved chunk; where answers are looked for, its neighbours in the context do too.
        """
        wide = knobs.replaced(k=metric.cutoff, score_threshold=0.0)
        seen = self.packed(select(self.candidates, wide), wide)
        answers = self.relevance.answers
        beside = self.beside(seen, wide) if answers.any() else None
        if beside is not None:
            beside &= answers[:, None, None]
        return metric(gains(self.relevance, seen, beside), self.relevance.ideal)

    def packed(self, ranking: Ranking, knobs: KnobValues) -> Integers:
        """The ranked columns that fit into the context, shape (Q, k), -1 for those left out."""
        fits = pack_context(self.candidates, ranking, knobs.context_tokens)
        return np.where(fits, ranking.columns, -1)

    def beside(self, seen: Integers, knobs: KnobValues) -> Booleans | None:
        """The facts that the neighbours of packed columns hold, shape (Q, k, F); None for none."""
        if not knobs.neighbours:
            return None
        facts = np.zeros((*seen.shape, self.relevance.facts.shape[2]), dtype=np.bool_)
        for row, rank, id in added_neighbours(self.candidates, seen, knobs):
            facts[row, rank, list(self.relevance.held[row].get(id, ()))] = True
        return facts

    def row(self, name: str, knobs: KnobValues) -> RetrievalRow:
        """Score what is read, and ten ranks by every metric of the table.

        The context's size is left out of the latter: it says what is read, not how well is ranked.
        """
        ranking = select(self.candidates, knobs.replaced(k=10, score_threshold=0.0))
        found = gains(self.relevance, ranking.columns)
        ideal = self.relevance.ideal
        labelled = ideal.any(axis=1)
        seen = self.packed(select(self.candidates, knobs), knobs)
        read = gains(self.relevance, seen, self.beside(seen, knobs)).sum(axis=1)
        scores = {READ: read / np.maximum(ideal.sum(axis=1), 1.0)}
        scores |= {key: RankingMetric.parse(key)(found, ideal) for key in TABLE_METRICS}
        means = {key: float(np.mean(values[labelled])) for key, values in scores.items()}
        return RetrievalRow(name, int(labelled.sum()), means, knobs.k)


def added_neighbours(
    candidates: Candidates, seen: Integers, knobs: KnobValues
) -> Iterator[tuple[int, int, str]]:
    """Yield question, rank and id of every neighbour that comes into the context.

    Args:
        candidates: Of Q questions.
        seen: The columns that are packed, shape (Q, k), best first, -1 for those left out.
        knobs: How many neighbours, how many tokens.
    """
    for row, columns in enumerate(seen.tolist()):
        ranks = [rank for rank, column in enumerate(columns) if column >= 0]
        places = [columns[rank] for rank in ranks]
        left = knobs.context_tokens - int(candidates.tokens[row, places].sum())
        ids = [candidates.ids[row][place] for place in places]
        taken = choose_neighbours(ids, candidates.around, left=left, reach=knobs.neighbours)
        for rank, (before, after) in zip(ranks, taken, strict=True):
            yield from ((row, rank, id) for id in (*before, *after))


def standard_settings(candidates: Candidates) -> dict[str, KnobValues]:
    """The ways of retrieving that a tuned one is compared with, by name."""
    hybrid = KnobValues(weight_dense=0.5, weight_bm25=0.5)
    settings = {
        "dense": KnobValues.dense(),
        "BM25": KnobValues(weight_dense=0.0, weight_bm25=1.0),
        "hybrid": hybrid,
    }
    for name, signal in candidates.by_signal.items():
        if signal not in SOURCES and name not in LEARNED:
            weighed = hybrid.replaced(**{WEIGHT + name: 1.0})
            settings[f"hybrid + {signal.shown}"] = (
                hybrid.starting(signal) if signal.source else weighed
            )
    return settings


def retrieval_table(
    labelled: LabelledCandidates, others: Mapping[str, KnobValues]
) -> tuple[RetrievalRow, ...]:
    """Score the standard ways of retrieving and the others, in this order; empty without labels.

    The standard ways read as many passages as the last of the others.
    """
    if not labelled.relevance.ideal.any():
        return ()
    last = list(others.values())[-1] if others else KnobValues()
    same = {"k": last.k, "context_tokens": last.context_tokens}
    ways = standard_settings(labelled.candidates).items()
    settings = {**{name: knobs.replaced(**same) for name, knobs in ways}, **others}
    return tuple(labelled.row(name, knobs) for name, knobs in settings.items())
