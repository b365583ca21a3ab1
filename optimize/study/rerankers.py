"""Rerankers, compared on the same candidates: what each adds, at which depth, for how long.

Every reranker scores the same fused candidates, best first, so that a difference is the reranker's
alone. A cheaper one is good enough where the interval of its difference lies above minus a margin.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.progress import StageProgress
from ragwright.optimize.retrieval.relevance import gains
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.scoring.statistics import Gain, Scores, paired_gain
from ragwright.optimize.study.pooling import StudyQuestions
from ragwright.programs.knobs import KnobValues
from ragwright.programs.rerank import Reranker
from ragwright.programs.selection import shortlist

DEPTHS = (10, 20, 50, 100)
_POWER_AT_95 = 1.959964 + 0.841621


@dataclass(frozen=True)
class RerankerAtDepth:
    """A reranker that scores the best so many candidates.

    Attributes:
        name: As it was given.
        depth: How many candidates it scores.
        mean: The metric, mean over questions.
        gain: Against the same candidates in their fused order.
        p50: Milliseconds a question, median.
        p95: The 95th percentile.
        pairs_per_second: Pairs of question and passage scored in a second.
    """

    name: str
    depth: int
    mean: float
    gain: Gain
    p50: float
    p95: float
    pairs_per_second: float


@dataclass(frozen=True)
class Rivalry:
    """One reranker against another, at the same depth.

    Attributes:
        name: The candidate.
        against: The incumbent.
        depth: How many candidates both score.
        gain: Of the candidate over the incumbent.
        not_worse: Whether the whole interval lies above minus the margin.
        questions_to_decide: How many questions would show a difference of the margin 4 times of 5.
    """

    name: str
    against: str
    depth: int
    gain: Gain
    not_worse: bool
    questions_to_decide: int


@dataclass(frozen=True)
class RerankerStudy:
    """What was found.

    Attributes:
        rows: Every reranker at every depth.
        fastest: The one with the least time a question that is not worse than the best one by more
            than the margin: the whole interval of the difference lies above minus that.
        rivalries: Every reranker against the first, at the largest depth.
        load: Seconds until a reranker had scored its first pair.
        memory: Megabytes that the process grew by, at most, meanwhile.
        metric: What is measured.
        margin: A loss that does not matter.
        base: The metric of the fused order.
        questions: How many questions had a label.
    """

    rows: tuple[RerankerAtDepth, ...]
    fastest: RerankerAtDepth
    rivalries: tuple[Rivalry, ...]
    load: Mapping[str, float]
    memory: Mapping[str, float]
    metric: str
    margin: float
    base: float
    questions: int


def study_rerankers(
    studied: StudyQuestions,
    rerankers: Mapping[str, Reranker],
    *,
    depths: Sequence[int] = DEPTHS,
    metric: str = "ndcg@10",
    margin: float = 0.01,
    seed: int = 0,
    progress: StageProgress | None = None,
) -> RerankerStudy:
    """Have every reranker score the same candidates, at every depth.

    Args:
        studied: Labelled questions with their candidates.
        rerankers: By the name they are reported under; the first is the incumbent.
        depths: How many of the best fused candidates are scored.
        metric: What is measured, such as "ndcg@10".
        margin: A loss that does not matter.
        seed: Of intervals and tests.
        progress: Told after every question.

    Raises:
        ModelError: A model cannot be loaded.
    """
    judge = RankingMetric.parse(metric)
    order = shortlist(studied.candidates, _fused(max(depths)))[:, : max(depths)]
    measure = partial(_judged, studied, judge)
    base = measure(order)
    rows, tables, load, memory = [], {}, {}, {}
    for name, reranker in rerankers.items():
        before = _megabytes()
        scored = _scored(studied, name, reranker, order, depths, progress)
        load[name], memory[name] = scored.load, max(0.0, _megabytes() - before)
        for depth in depths:
            tables[name, depth] = measure(_reordered(order, scored.scores, depth))
            gain = paired_gain(base, tables[name, depth], groups=studied.groups, seed=seed)
            rows.append(_row(name, depth, tables[name, depth], gain, scored.timed[depth]))
    first, deepest = next(iter(rerankers)), max(depths)
    rivalries = tuple(
        _rivalry(name, first, deepest, tables, studied.groups, margin, seed)
        for name in rerankers
        if name != first
    )
    fastest = _fastest(rows, tables, studied.groups, margin, seed)
    return RerankerStudy(
        tuple(rows), fastest, rivalries, load, memory, metric, margin, float(base.mean()),
        len(studied.questions),
    )  # fmt: skip


@dataclass(frozen=True)
class _Scored:
    scores: Scores
    timed: Mapping[int, list[tuple[int, float]]]
    load: float


def _scored(
    studied: StudyQuestions,
    name: str,
    reranker: Reranker,
    order: NDArray[np.int64],
    depths: Sequence[int],
    progress: StageProgress | None,
) -> _Scored:
    """Score every question as deep as is wanted, and time each at one depth, in turn.

    What a question's first call takes stays known for the next: two depths timed with the same
    question would make the second look cheap.
    """
    scores = np.full(order.shape, np.nan)
    timed: dict[int, list[tuple[int, float]]] = {depth: [] for depth in depths}
    start = time.perf_counter()
    reranker(studied.questions[0].question, _ids(studied, order, 0, 1))
    load = time.perf_counter() - start
    asked = len(studied.questions)
    for row, question in enumerate(studied.questions):
        turns = [depth for place, depth in enumerate(depths) if place % asked == row % len(depths)]
        for depth in dict.fromkeys((*turns, max(depths))):
            ids = _ids(studied, order, row, min(depth, reranker.depth or depth))
            start = time.perf_counter()
            scores[row, : len(ids)] = reranker(question.question, ids)
            if depth in turns:
                timed[depth].append((len(ids), time.perf_counter() - start))
        if progress:
            progress(name, row + 1, asked)
    return _Scored(scores, timed, load)


def _row(
    name: str,
    depth: int,
    table: Scores,
    gain: Gain,
    timed: Sequence[tuple[int, float]],
) -> RerankerAtDepth:
    pairs, seconds = np.asarray(timed).T
    p50, p95 = (1000 * np.percentile(seconds, [50, 95])).tolist()
    rate = float(pairs.sum() / max(seconds.sum(), 1e-9))
    return RerankerAtDepth(name, depth, float(table.mean()), gain, p50, p95, rate)


def _fastest(
    rows: Sequence[RerankerAtDepth],
    tables: Mapping[tuple[str, int], Scores],
    groups: Sequence[str],
    margin: float,
    seed: int,
) -> RerankerAtDepth:
    best = max(rows, key=lambda row: row.mean)
    top = tables[best.name, best.depth]
    good = [
        row
        for row in rows
        if row is best
        or paired_gain(top, tables[row.name, row.depth], groups=groups, seed=seed).low > -margin
    ]
    return min(good, key=lambda row: row.p50)


def _rivalry(
    name: str,
    against: str,
    depth: int,
    tables: Mapping[tuple[str, int], Scores],
    groups: Sequence[str],
    margin: float,
    seed: int,
) -> Rivalry:
    candidate, incumbent = tables[name, depth], tables[against, depth]
    gain = paired_gain(incumbent, candidate, groups=groups, seed=seed)
    spread = float(np.std(candidate - incumbent, ddof=1)) if len(candidate) > 1 else 0.0
    needed = math.ceil((_POWER_AT_95 * spread / margin) ** 2) if margin else 0
    return Rivalry(name, against, depth, gain, gain.low > -margin, needed)


def _judged(studied: StudyQuestions, metric: RankingMetric, columns: NDArray[np.int64]) -> Scores:
    relevance = studied.labelled().relevance
    return metric(gains(relevance, columns), relevance.ideal)


def _reordered(order: NDArray[np.int64], scores: Scores, depth: int) -> NDArray[np.int64]:
    """Rank the first `depth` by score and leave the others behind them; unscored ones keep last."""
    head = np.where(np.isnan(scores[:, :depth]), -np.inf, scores[:, :depth])
    places = np.argsort(-head, axis=1, kind="stable")
    ranked = np.take_along_axis(order[:, :depth], places, axis=1)
    return np.concatenate([ranked, order[:, depth:]], axis=1)


def _ids(studied: StudyQuestions, order: NDArray[np.int64], row: int, depth: int) -> list[str]:
    columns = order[row, :depth].tolist()
    return [studied.candidates.ids[row][column] for column in columns if column >= 0]


def _fused(depth: int) -> KnobValues:
    """Hybrid retrieval without any reranker, as deep as asked for."""
    return KnobValues(
        weight_dense=0.5, weight_bm25=0.5, depth_dense=100, depth_bm25=100, rerank_depth=depth
    )


def _megabytes() -> float:
    """The most memory that this process has held; kilobytes on Linux, bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
