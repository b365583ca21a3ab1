"""A labelled pool and starting knobs in, better knobs and a shortlist for the answer stage out.

Optuna proposes, replay scores, and the choice is made to generalise: the start is kept unless
repeated cross-validation says that choosing beats it, and within one standard error of the best
the simplest setting wins. How many passages the reader gets, and how, is left to the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.progress import Progress
from ragwright.optimize.retrieval.replay import Labelled
from ragwright.optimize.retrieval.space import SearchSettings, Walk
from ragwright.optimize.scoring.statistics import standard_error
from ragwright.programs.context import ORDERS
from ragwright.programs.knobs import KnobValues

FOLDS, REPEATS = 5, 5
SMALLER_K = (1, 3)


@dataclass(frozen=True)
class Trial:
    """One setting and its mean score over the labelled questions."""

    knobs: KnobValues
    score: float


@dataclass(frozen=True)
class Search:
    """What the search found.

    Attributes:
        best: The chosen knobs; the start if it was not beaten.
        shortlist: Distinct settings for the answer stage, the chosen one first.
        trials: The start, the baseline, then every proposal in order.
        gain: By how much choosing beats the start on questions it was not chosen on.
        standard_error: Of that gain.
        questions: How many questions had a label.
        importance: Of each searched parameter, as Optuna estimates it; together 1.
    """

    best: KnobValues
    shortlist: tuple[KnobValues, ...]
    trials: tuple[Trial, ...]
    gain: float = 0.0
    standard_error: float = 0.0
    questions: int = 0
    importance: Mapping[str, float] = field(default_factory=dict)

    @property
    def kept_start(self) -> bool:
        """Whether nothing beat the starting knobs."""
        return self.gain <= self.standard_error


def search(
    labelled: Labelled,
    start: KnobValues,
    baseline: KnobValues,
    settings: SearchSettings,
    *,
    groups: Sequence[str],
    folder: Path,
    progress: Progress | None = None,
) -> Search:
    """Search knobs by replay; the trials are kept in `folder` and the search goes on from there.

    Args:
        labelled: Candidates and labels of train and dev questions.
        start: The knobs to beat; k, threshold and context size are taken from it.
        baseline: Scored along with the start, never chosen for its own sake.
        settings: What may be tried.
        groups: One name per question; a fold never cuts a group in two.
        folder: The run's folder.
        progress: Told about every trial.
    """
    known = labelled.relevance.ideal.any(axis=1)
    if not known.any() or not settings.trials or len(settings.signals) < 2:
        return Search(start, _with_smaller_k([start]), ())
    walk = Walk(folder, start, settings)
    tried = [start, baseline, *walk.done]
    scores = [labelled.scores(knobs, settings.metric)[known] for knobs in tried]

    def score(knobs: KnobValues) -> float:
        scores.append(labelled.scores(knobs, settings.metric)[known])
        return float(scores[-1].mean())

    for number in range(len(tried) - 1, settings.trials + 1):
        tried.append(walk.step(score))
        if progress:
            progress("retrieval", number, settings.trials)
    names = [groups[row] for row in np.flatnonzero(known).tolist()]
    return _chosen(tried, np.stack(scores), names, settings, walk.importance)


def read_otherwise(knobs: KnobValues) -> tuple[KnobValues, ...]:
    """The same passages, put before the reader in other ways: in another order, with neighbours.

    No ranking metric tells orders apart, nor neighbours unless answers are looked for, so that it
    takes answers to choose. Where a way changes no prompt, it costs no call.
    """
    orders = [name for name in ORDERS if name != knobs.order and knobs.k > 1]
    reach = 0 if knobs.neighbours == 1 else 1
    return (*(knobs.replaced(order=name) for name in orders), knobs.replaced(neighbours=reach))


def _chosen(
    tried: Sequence[KnobValues],
    table: NDArray[np.float64],
    groups: Sequence[str],
    settings: SearchSettings,
    importance: Mapping[str, float],
) -> Search:
    differences = _held_out(table, groups, settings.seed) - table[0]
    gain, error = float(differences.mean()), standard_error(differences)
    best = tried[_simplest_of_the_best(tried, table)] if gain > error else tried[0]
    ranked = [tried[row] for row in np.argsort(-table.mean(axis=1), kind="stable")]
    distinct = _distinct([best, *ranked], settings.shortlist)
    return Search(
        best=best,
        shortlist=_with_smaller_k(distinct),
        trials=tuple(Trial(*pair) for pair in zip(tried, table.mean(axis=1).tolist(), strict=True)),
        gain=gain,
        standard_error=error,
        questions=table.shape[1],
        importance=importance,
    )


def _held_out(table: NDArray[np.float64], groups: Sequence[str], seed: int) -> NDArray[np.float64]:
    """Score of every question under the setting chosen on the folds it is not in, shape (Q,)."""
    names, codes = np.unique(np.array(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    total = np.zeros(table.shape[1])
    for _ in range(REPEATS):
        folds = (rng.permutation(len(names)) % FOLDS)[codes]
        for fold in range(FOLDS):
            inside = folds == fold
            if inside.any() and not inside.all():
                total[inside] += table[table[:, ~inside].mean(axis=1).argmax(), inside]
            else:
                total[inside] += table[0, inside]
    return total / REPEATS


def _simplest_of_the_best(tried: Sequence[KnobValues], table: NDArray[np.float64]) -> int:
    """Among those within one standard error of the best (Breiman et al. 1984), the simplest."""
    means = table.mean(axis=1)
    best = int(means.argmax())
    near = [
        row
        for row in range(len(tried))
        if means[best] - means[row] <= standard_error(table[best] - table[row])
    ]
    return min(near, key=lambda row: (_complexity(tried[row]), -means[row]))


def _complexity(knobs: KnobValues) -> tuple[int, int]:
    """How much work a setting makes: signals (diversity, neighbours), then candidates."""
    weights = knobs.weights
    reranked = knobs.rerank_depth if weights.keys() - set(knobs.sources) else 0
    return sum(
        part > 0 for part in (*weights.values(), knobs.diversity, knobs.neighbours)
    ), reranked


def _distinct(ranked: Sequence[KnobValues], count: int) -> list[KnobValues]:
    """The first of every group of settings that weigh the signals nearly alike."""
    taken: list[KnobValues] = []
    for knobs in ranked:
        if len(taken) < count and all(_apart(knobs, other) for other in taken):
            taken.append(knobs)
    return taken


def _apart(first: KnobValues, second: KnobValues) -> bool:
    one, other = _shares(first), _shares(second)
    distance = sum(abs(one.get(name, 0) - other.get(name, 0)) for name in {*one, *other})
    return first.fusion != second.fusion or distance > 0.3


def _shares(knobs: KnobValues) -> dict[str, float]:
    total = sum(knobs.weights.values())
    return {name: weight / total for name, weight in knobs.weights.items()}


def _with_smaller_k(shortlist: Sequence[KnobValues]) -> tuple[KnobValues, ...]:
    """Add the first setting with fewer passages, because more of them can distract a reader."""
    first = shortlist[0]
    fewer = [first.replaced(k=k) for k in SMALLER_K if k < first.k]
    return (first, *fewer, *shortlist[1:])
