"""Searches retrieval knobs on a labelled pool: the best ones, and a shortlist for the answers.

Optuna proposes, replay scores, and the choice is made to generalise: no single trial is taken, but
the mean of the best ones, drawn half way towards the fixed way that ranks best. The start, or a
fixed way, is taken instead where cross-validation finds that surely better. How many passages the
reader gets, and how, is left to the answers: `reading.py` says which ways are worth asking about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.progress import StageProgress
from ragwright.optimize.retrieval.reading import best_contexts, context_sizes
from ragwright.optimize.retrieval.replay import LabelledCandidates, standard_settings
from ragwright.optimize.retrieval.space import SearchSettings, Walk
from ragwright.optimize.scoring.statistics import standard_error
from ragwright.programs.context import ORDERS
from ragwright.programs.fusion import Booleans
from ragwright.programs.knobs import POOL_DEPTH, KnobValues
from ragwright.programs.signals import DEPTH, WEIGHT, Signal

FOLDS, REPEATS = 5, 3
AVERAGED = 15
"""The best trials whose weights are averaged: the top few differ by chance alone."""
DRAWN = 0.5
"""How far the average is drawn towards the best fixed way, from 0, not at all, to 1, all the way;
docs/benchmarks.md has what 0.25 and 0.75 and another goal came to on sets with repeated splits."""
SURE = 1.5
"""Standard errors by which the start, or a fixed way, must be better than what was tuned."""
START = "start"
BY_MODEL = "lm"
"""The signal of a language model as the reranker."""
LM_WEIGHTS = (0.0, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Trial:
    """One setting and its mean score over the labelled questions."""

    knobs: KnobValues
    score: float


@dataclass(frozen=True)
class Search:
    """What the search found.

    Attributes:
        best: The chosen knobs; the start, or a fixed way, where that was surely better.
        fixed: The fixed way that was better than the search, if one was; else nothing.
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
    fixed: str = ""

    @property
    def kept_start(self) -> bool:
        """Whether nothing beat the starting knobs."""
        return not self.trials or self.best == self.trials[0].knobs


def search_knobs(
    labelled: LabelledCandidates,
    start: KnobValues,
    baseline: KnobValues,
    settings: SearchSettings,
    *,
    groups: Sequence[str],
    folder: Path,
    progress: StageProgress | None = None,
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
    known = np.asarray(labelled.relevance.ideal.any(axis=1), dtype=np.bool_)
    if not known.any() or not settings.trials or len(settings.signals) < 2:
        return Search(start, (start, *context_sizes(start)), ())
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
    trials = _Trials(labelled, known, tried, np.stack(scores), names, settings)
    return _chosen(trials, walk.importance)


def reading_variations(knobs: KnobValues) -> tuple[KnobValues, ...]:
    """The same passages, put before the reader in other ways: in another order, with neighbours.

    No ranking metric tells orders apart, nor neighbours unless answers are looked for, so that it
    takes answers to choose. Where a way changes no prompt, it costs no call.
    """
    orders = [name for name in ORDERS if name != knobs.order and knobs.k > 1]
    reach = 0 if knobs.neighbours == 1 else 1
    return (*(knobs.replaced(order=name) for name in orders), knobs.replaced(neighbours=reach))


def reranking_variations(knobs: KnobValues, start: KnobValues) -> tuple[KnobValues, ...]:
    """The same setting with other weights of a language model as the reranker, none included.

    No pool holds its scores, so that answers must choose. A ranking that was asked for before is
    in the ledger of calls: only what the reader is shown anew costs. Empty where the start has
    none.
    """
    if not start.weight(BY_MODEL):
        return ()
    weights = (weight for weight in LM_WEIGHTS if weight != knobs.weight(BY_MODEL))
    return tuple(knobs.replaced(**{WEIGHT + BY_MODEL: weight}) for weight in weights)


def dissimilar_rankings(start: KnobValues, signals: Sequence[Signal]) -> list[KnobValues]:
    """Ways to rank that differ much from each other, where no label tells which is better.

    Each source alone, all of them alike, and these with each reranker, which weighs as much.
    """
    if len(signals) < 2:
        return []
    none = {signal.weight: 0.0 for signal in signals}
    sources = [signal for signal in signals if signal.source]
    alike = {source.weight: round(1 / len(sources), 4) for source in sources}
    ways: list[dict[str, float]] = [{sources[0].weight: 1.0}, alike]
    ways += [{**alike, source.weight: 1.0} for source in sources[1:]]
    ways += [{**alike, one.weight: 1.0} for one in signals if not one.source]
    return [start.replaced(**{**none, **way}) for way in ways]


@dataclass(frozen=True)
class _Trials:
    """What was tried: `table` has the score of every setting on every known question, (T, Q)."""

    labelled: LabelledCandidates
    known: Booleans
    tried: Sequence[KnobValues]
    table: NDArray[np.float64]
    groups: Sequence[str]
    settings: SearchSettings

    def scores(self, knobs: KnobValues) -> NDArray[np.float64]:
        """Score a setting on every known question."""
        return self.labelled.scores(knobs, self.settings.metric)[self.known]

    def averaged(self, questions: Booleans) -> KnobValues:
        """The setting that these questions choose: their best trials, averaged and drawn in."""
        means = self.table[:, questions].mean(axis=1)
        # The start and the baseline stand first: they were not proposed.
        convex = [row for row in range(2, len(self.tried)) if self.tried[row].fusion == "convex"]
        best = sorted(convex, key=lambda row: -means[row])[:AVERAGED]
        trials, start = [self.tried[row] for row in best], self.tried[0]
        ways = {name: scores[questions].mean() for name, scores in self.fixed_scores.items()}
        goal = self.fixed[max(ways, key=ways.__getitem__)] if ways else start
        return average_trials(trials, start, goal, self.settings.signals)

    def held_out(self) -> NDArray[np.float64]:
        """Score of every question under the setting that the other folds choose, shape (Q,)."""
        names, codes = np.unique(np.array(self.groups), return_inverse=True)
        rng = np.random.default_rng(self.settings.seed)
        total = np.zeros(self.table.shape[1])
        for _ in range(REPEATS):
            folds = (rng.permutation(len(names)) % FOLDS)[codes]
            for fold in range(FOLDS):
                inside = folds == fold
                if inside.any() and not inside.all():
                    total[inside] += self.scores(self.averaged(~inside))[inside]
                else:
                    total[inside] += self.table[0, inside]
        return total / REPEATS

    @cached_property
    def fixed(self) -> dict[str, KnobValues]:
        """The fixed ways that the program can go, laid over the start."""
        usable = {signal.name for signal in self.settings.signals}
        ways = standard_settings(self.labelled.candidates).items()
        return {name: _laid_over(self.tried[0], way) for name, way in ways
                if way.weights.keys() <= usable}  # fmt: skip

    @cached_property
    def fixed_scores(self) -> dict[str, NDArray[np.float64]]:
        """Their scores on every known question."""
        return {name: self.scores(knobs) for name, knobs in self.fixed.items()}


def average_trials(
    trials: Sequence[KnobValues], start: KnobValues, goal: KnobValues, signals: Sequence[Signal]
) -> KnobValues:
    """Average the weights of trials and draw them half way towards a fixed way's.

    Averaging what nearly ties, and shrinking towards what nobody tuned, lose less on new
    questions than the single best does (James and Stein, 1961).

    Args:
        trials: The best settings; none leaves the goal's weights.
        start: What is laid over: k, budget and all that no trial changes.
        goal: Whose weights are drawn to.
        signals: The signals that the program can weigh.
    """
    names = [signal.name for signal in signals]
    rows = [[knobs.weight(name) for name in names] for knobs in [goal, *trials]]
    fixed, *shares = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    drawn = DRAWN * fixed + (1 - DRAWN) * np.mean(shares, axis=0) if shares else fixed
    named = {signal.weight: round(float(weight), 4)
             for signal, weight in zip(signals, drawn, strict=True)}  # fmt: skip
    depths = {signal.depth: POOL_DEPTH for signal in signals if signal.source}
    numbers = {
        signal.knob(number): float(np.mean([knobs.get(signal.knob(number), number.default)
                                            for knobs in trials] or [number.default]))
        for signal in signals for number in signal.numbers if number.replayed
    }  # fmt: skip
    same = {"fusion": "convex", "diversity": 0.0, "rerank_depth": POOL_DEPTH, "neighbours":
            _commonest([knobs.neighbours for knobs in trials], start.neighbours)}  # fmt: skip
    return start.replaced(**named, **depths, **numbers, **same)


def _commonest(values: Sequence[int], otherwise: int) -> int:
    return max(sorted(set(values)), key=values.count) if values else otherwise


def _chosen(trials: _Trials, importance: Mapping[str, float]) -> Search:
    """Take what was learned, unless the start or a fixed way is better where nothing was chosen."""
    table, tried, settings = trials.table, trials.tried, trials.settings
    held_out = trials.held_out()
    differences = held_out - table[0]
    gain, error = float(differences.mean()), standard_error(differences)
    better = _surely_better({START: table[0], **trials.fixed_scores}, held_out)
    ways = {START: tried[0], **trials.fixed}
    best = ways[better] if better else trials.averaged(np.ones(table.shape[1], dtype=np.bool_))
    ranked = [tried[row] for row in np.argsort(-table.mean(axis=1), kind="stable")]
    distinct = _distinct([best, *ranked], settings.shortlist)
    return Search(
        best=best,
        shortlist=(best, *best_contexts(trials.labelled, best), *distinct[1:]),
        trials=tuple(Trial(*pair) for pair in zip(tried, table.mean(axis=1).tolist(), strict=True)),
        gain=gain,
        standard_error=error,
        questions=table.shape[1],
        importance=importance,
        fixed="" if better == START else better,
    )


def _surely_better(ways: Mapping[str, NDArray[np.float64]], tuned: NDArray[np.float64]) -> str:
    """The way that is better than what was tuned by `SURE` standard errors, or nothing.

    Nobody chose one of them, so that all their scores are held out. A way that is only somewhat
    better is none: what was tuned for all questions is better than what was for some of them.
    """
    gains: dict[str, float] = {}
    for name, scores in ways.items():
        differences = scores - tuned
        if differences.mean() > SURE * standard_error(differences):
            gains[name] = float(differences.mean())
    return max(gains, key=gains.__getitem__, default="")


def _laid_over(start: KnobValues, way: KnobValues) -> KnobValues:
    """Rank as a fixed way does; how many passages are read, and how, is the start's."""
    weights = dict.fromkeys((WEIGHT + name for name in start.weights), 0.0)
    weights |= {WEIGHT + name: weight for name, weight in way.weights.items()}
    depths = {DEPTH + name: way.depth(name) for name in way.sources}
    rest = {"fusion": way.fusion, "rerank_depth": way.rerank_depth, "diversity": way.diversity}
    return start.replaced(**weights, **depths, **rest)


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
