"""Ways of retrieving, compared on labelled questions: by chunks, by documents, and as read.

Every figure is replayed from one pool. Differences are paired, by question, and groups of questions
are resampled together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.retrieval.relevance import gains
from ragwright.optimize.retrieval.replay import (
    LabelledCandidates,
    added_neighbours,
    standard_settings,
)
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.scoring.statistics import (
    Gain,
    Mean,
    Scores,
    holm_correction,
    mean_interval,
    paired_gain,
)
from ragwright.optimize.study.pooling import Level, StudyQuestions
from ragwright.programs.knobs import KnobValues
from ragwright.programs.selection import select
from ragwright.retrievers.errors import InputError

METRICS = ("ndcg@10", "recall@5", "recall@10", "precision@5", "hit@5", "mrr@10", "map@10")


@dataclass(frozen=True)
class RetrievalSetting:
    """One way of retrieving, measured.

    Attributes:
        name: Such as "hybrid" or "recipe".
        knobs: Its setting.
        means: Metric to mean with 95 % interval; for chunks "ndcg@10", for documents
            "document ndcg@10", for what fits the budget "read recall" and "read precision".
        scores: The same metrics by question, shape (Q,).
        tokens: Mean tokens of the context that it fills.
        p50: Milliseconds of a search, median, if it was timed.
        p95: The 95th percentile.
    """

    name: str
    knobs: KnobValues
    means: Mapping[str, Mean]
    scores: Mapping[str, Scores]
    tokens: float
    p50: float = float("nan")
    p95: float = float("nan")


@dataclass(frozen=True)
class RetrievalComparison:
    """One way against another, on one metric."""

    name: str
    against: str
    metric: str
    gain: Gain
    p_corrected: float


@dataclass(frozen=True)
class RetrievalStudy:
    """What was found.

    Attributes:
        ways: Every way, in the order given.
        comparisons: Every way against the reference, on the main metric, p corrected (Holm).
        metric: The main metric.
        reference: The way that the others are compared with.
        questions: How many questions had a label.
        unlabelled: How many had none in the index.
        groups: The main metric by group and way, for the groups of 5 questions and more.
    """

    ways: tuple[RetrievalSetting, ...]
    comparisons: tuple[RetrievalComparison, ...]
    metric: str
    reference: str
    questions: int
    unlabelled: int
    groups: Mapping[str, Mapping[str, float]]

    def score(self, name: str, metric: str) -> float:
        """Return the mean of a metric for a way.

        Raises:
            InputError: There is no such way or metric.
        """
        for way in self.ways:
            if way.name == name and metric in way.means:
                return way.means[metric].mean
        raise InputError(
            f"The study has no {metric!r} of {name!r}.",
            hint=f"It has {', '.join(self.ways[0].means)}.",
        )


def study_retrieval(
    studied: StudyQuestions,
    settings: Mapping[str, KnobValues] | None = None,
    *,
    metrics: Sequence[str] = METRICS,
    metric: str = "ndcg@10",
    reference: str = "dense",
    seed: int = 0,
) -> RetrievalStudy:
    """Measure the fixed ways and the given settings on one pool.

    Args:
        studied: Labelled questions with their candidates.
        settings: Further settings, by name.
        metrics: What is measured; names as in a recipe.
        metric: What ways are compared on.
        reference: The way that others are compared with.
        seed: Of intervals and tests.

    Raises:
        InputError: An unknown metric or reference.
    """
    named = {**standard_settings(studied.candidates), **(settings or {})}
    if reference not in named:
        raise InputError(
            f"There is no way {reference!r} to compare with.",
            hint=f"Take one of {', '.join(named)}.",
        )
    chosen = [RankingMetric.parse(name) for name in dict.fromkeys((metric, *metrics))]
    levels: dict[Level, LabelledCandidates] = {
        level: studied.labelled(level) for level in ("chunk", "document")
    }
    ways = tuple(_way(name, knobs, levels, chosen, studied, seed) for name, knobs in named.items())
    return RetrievalStudy(
        ways=ways,
        comparisons=_compared(ways, reference, metric, studied.groups, seed),
        metric=metric,
        reference=reference,
        questions=len(studied.questions),
        unlabelled=studied.unlabelled,
        groups=_by_group(ways, metric, studied.groups),
    )


def time_searches(
    study: RetrievalStudy, stages: Mapping[str, Any], questions: Sequence[str]
) -> RetrievalStudy:
    """Add how long live searches take: `stages` are called with every question, once unmeasured."""
    ways = []
    for way in study.ways:
        stage = stages.get(way.name)
        ways.append(way if stage is None else _timed(way, stage, questions))
    return replace(study, ways=tuple(ways))


def _timed(way: RetrievalSetting, stage: Any, questions: Sequence[str]) -> RetrievalSetting:
    stage(questions[0])
    taken = []
    for question in questions:
        start = time.perf_counter()
        stage(question)
        taken.append(1000 * (time.perf_counter() - start))
    p50, p95 = np.percentile(taken, [50, 95]).tolist()
    return replace(way, p50=p50, p95=p95)


def _way(
    name: str,
    knobs: KnobValues,
    levels: Mapping[Level, LabelledCandidates],
    metrics: Sequence[RankingMetric],
    studied: StudyQuestions,
    seed: int,
) -> RetrievalSetting:
    scores: dict[str, Scores] = {}
    for level, labelled in levels.items():
        ranking = select(labelled.candidates, _wide(knobs))
        found, ideal = gains(labelled.relevance, ranking.columns), labelled.relevance.ideal
        for metric in metrics:
            label = metric.name if level == "chunk" else f"document {metric.name}"
            scores[label] = metric(found, ideal)
    read, tokens = score_as_read(levels["chunk"], knobs)
    scores |= read
    means = {
        key: mean_interval(values, groups=studied.groups, seed=seed)
        for key, values in scores.items()
    }
    return RetrievalSetting(name, knobs, means, scores, float(tokens.mean()))


def score_as_read(
    labelled: LabelledCandidates, knobs: KnobValues
) -> tuple[dict[str, Scores], NDArray[np.int64]]:
    """Score what a program with these knobs puts before its reader: k passages in the budget.

    Returns:
        "read recall", "read precision" and "passages" by question, and the context's tokens,
        shape (Q,).
    """
    seen = labelled.packed(select(labelled.candidates, knobs), knobs)
    found = gains(labelled.relevance, seen, labelled.beside(seen, knobs))
    wanted = np.maximum(labelled.relevance.ideal.sum(axis=1), 1)
    real = seen >= 0
    sizes = np.take_along_axis(labelled.candidates.tokens, np.where(real, seen, 0), axis=1)
    tokens = np.where(real, sizes, 0).sum(axis=1) + _beside_tokens(labelled, seen, knobs)
    read = real.sum(axis=1)
    scores = {
        "read recall": found.sum(axis=1) / wanted,
        "read precision": (found > 0).sum(axis=1) / np.maximum(read, 1),
        "passages": read.astype(np.float64),
    }
    return scores, tokens


def _beside_tokens(
    labelled: LabelledCandidates, seen: NDArray[np.int64], knobs: KnobValues
) -> NDArray[np.int64]:
    """Tokens of the neighbours that come into the context, shape (Q,)."""
    tokens = np.zeros(len(seen), dtype=np.int64)
    if knobs.neighbours:
        for row, _, id in added_neighbours(labelled.candidates, seen, knobs):
            tokens[row] += labelled.candidates.around.pieces[id].tokens
    return tokens


def _wide(knobs: KnobValues) -> KnobValues:
    """Rank as far as any metric counts, whatever the program reads."""
    return knobs.replaced(k=50, score_threshold=0.0)


def _compared(
    ways: Sequence[RetrievalSetting], reference: str, metric: str, groups: Sequence[str], seed: int
) -> tuple[RetrievalComparison, ...]:
    base = next(way for way in ways if way.name == reference)
    gained = {
        way.name: paired_gain(base.scores[metric], way.scores[metric], groups=groups, seed=seed)
        for way in ways
        if way.name != reference
    }
    corrected = holm_correction({name: gain.p for name, gain in gained.items()})
    return tuple(
        RetrievalComparison(name, reference, metric, gain, corrected[name])
        for name, gain in gained.items()
    )


def _by_group(
    ways: Sequence[RetrievalSetting], metric: str, groups: Sequence[str]
) -> dict[str, dict[str, float]]:
    names, codes, counts = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    large = [place for place, count in enumerate(counts.tolist()) if count >= 5]
    if len(large) < 2:
        return {}
    return {
        str(names[place]): {
            way.name: float(way.scores[metric][codes == place].mean()) for way in ways
        }
        for place in large
    }
