"""Retrieval metrics per question: nDCG, recall, precision, hits, MRR, MAP.

Pure NumPy over all questions at once. `gains` has shape (Q, k): at each rank the number of wanted
facts (documents, evidence snippets) that were not seen at a better rank. `ideal` has shape (Q, F):
the gains of the best possible ranking, best first, 0 where there is none. A question whose ideal
is all 0 has nothing to find: its score is NaN. Knows nothing of where gains come from
(`relevance.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.scoring.statistics import Scores
from ragwright.retrievers.errors import InputError

Gains = NDArray[np.float64]


def ndcg(gains: Gains, ideal: Gains, k: int) -> Scores:
    """Normalised discounted cumulative gain, discount log2(rank + 1), shape (Q,).

    Järvelin and Kekäläinen, TOIS 2002; with facts that count once, alpha-nDCG at alpha 1 (Clarke
    et al., SIGIR 2008).
    """
    return _divided(_discounted(gains, k), _discounted(ideal, k))


def recall(gains: Gains, ideal: Gains, k: int) -> Scores:
    """Share of the facts found in the first k, shape (Q,)."""
    return _divided(gains[:, :k].sum(axis=1), ideal.sum(axis=1))


def precision(gains: Gains, ideal: Gains, k: int) -> Scores:
    """Share of the first k that bring a new fact, shape (Q,)."""
    return _known((gains[:, :k] > 0).sum(axis=1) / k, ideal)


def hit_rate(gains: Gains, ideal: Gains, k: int) -> Scores:
    """1 if any of the first k brings a fact, else 0, shape (Q,)."""
    return _known(np.where((gains[:, :k] > 0).any(axis=1), 1.0, 0.0), ideal)


def reciprocal_rank(gains: Gains, ideal: Gains, k: int) -> Scores:
    """1 / rank of the first that brings a fact, 0 if none of the first k does, shape (Q,)."""
    hits = gains[:, :k] > 0
    if not hits.shape[1]:
        return _known(np.zeros(len(hits)), ideal)
    return _known(np.where(hits.any(axis=1), 1 / (1 + hits.argmax(axis=1)), 0.0), ideal)


def average_precision(gains: Gains, ideal: Gains, k: int) -> Scores:
    """Mean over the wanted items of the precision at the rank of each, shape (Q,)."""
    hits = gains[:, :k] > 0
    precisions = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return _divided((precisions * hits).sum(axis=1), (ideal > 0).sum(axis=1).astype(np.float64))


_METRICS: dict[str, Callable[[Gains, Gains, int], Scores]] = {
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "hit": hit_rate,
    "mrr": reciprocal_rank,
    "map": average_precision,
}


@dataclass(frozen=True, slots=True)
class RankingMetric:
    """One retrieval metric with its cutoff.

    Attributes:
        name: As written in the recipe, such as "ndcg@10".
        kind: "ndcg", "recall", "precision", "hit", "mrr" or "map".
        cutoff: How many ranks count.
    """

    name: str
    kind: str
    cutoff: int

    @classmethod
    def parse(cls, name: str) -> RankingMetric:
        """Read a name such as "recall@5"; a name without a cutoff counts 10 ranks.

        Raises:
            InputError: No such metric, or a cutoff out of range.
        """
        match = re.fullmatch(r"([a-z]+)(?:@([0-9]{1,2}))?", name.strip())
        cutoff = int(match[2] or 10) if match else 0
        if not match or match[1] not in _METRICS or not 1 <= cutoff <= 50:
            raise InputError(
                f"No retrieval metric {name!r}.",
                hint=f"Write one of {', '.join(_METRICS)}, with a cutoff from 1 to 50: 'ndcg@10'.",
            )
        return cls(name.strip(), match[1], cutoff)

    def __call__(self, gains: Gains, ideal: Gains) -> Scores:
        """Score every question, shape (Q,); NaN where there is nothing to find."""
        return _METRICS[self.kind](gains, ideal, self.cutoff)


def _discounted(gains: Gains, k: int) -> Scores:
    taken = gains[:, :k]
    return np.asarray(taken @ (1 / np.log2(np.arange(2, taken.shape[1] + 2))))


def _divided(above: Scores, below: Scores) -> Scores:
    result = np.full(below.shape, np.nan)
    np.divide(above, below, out=result, where=below > 0)
    return result


def _known(scores: Scores, ideal: Gains) -> Scores:
    return np.where(ideal.any(axis=1), scores, np.nan)
