"""The ranker: boosted trees over what every signal says of a candidate, on top of the tuned score.

LambdaMART (Burges, 2010) that goes on from the score that tuned knobs give, so that with nothing
to learn it ranks as they do. It finds nothing: it reads the signals of what was found, each in
itself and among those of the question's other candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ragwright.programs.candidates import Candidates
from ragwright.programs.fusion import fuse_signals, ranks_by_row
from ragwright.programs.knobs import LEARNED, KnobValues
from ragwright.programs.learned.base import SHARE, Array, LearnedPart, StoredPart, WeightChoice
from ragwright.programs.learned.trees import Trees, grow_boosted_trees
from ragwright.programs.signals import WEIGHT, Signal
from ragwright.retrievers.embedding.base import Floats, Integers
from ragwright.retrievers.errors import InputError

STEEP = 20.0
"""By how much a tuned score, from 0 to 1, is stretched before trees are added to it: differences
are then as large as those that boosting comes to by itself."""


@dataclass(frozen=True, eq=False)
class Ranker(LearnedPart):
    """Trees, and the knobs whose score they are added to.

    Attributes:
        trees: Over the features of `seen_of`.
        reads: The names of the signals that they read, in order.
        knobs: Weights, and numbers of the signals.
        count: How many questions it was learned from.
    """

    trees: Trees
    reads: tuple[str, ...]
    knobs: KnobValues
    count: int

    signal: ClassVar[Signal] = Signal("ranker", "learned ranker")
    choices: ClassVar[tuple[WeightChoice, ...]] = ({SHARE: 0.98},)
    """Its scores hold the tuned one already."""

    @classmethod
    def laid(cls, knobs: KnobValues, choice: WeightChoice) -> KnobValues:
        """Give it its share of all weights.

        A threshold that was tuned for other scores would cut elsewhere: it is left out.
        """
        return super().laid(knobs, choice).replaced(score_threshold=0.0)

    @classmethod
    def learned(
        cls, candidates: Candidates, wanted: Array, knobs: KnobValues, *, seed: int = 0
    ) -> Self:
        """Learn from what was found for questions.

        Args:
            candidates: Of Q questions.
            wanted: Which of them are, shape (Q, C).
            knobs: The tuned ones; signals that are learned are read where these weigh them.
            seed: Of what is drawn.

        Raises:
            MissingExtra: LightGBM is not installed.
        """
        reads = _read(candidates, knobs)
        seen = RankerInputs.of(candidates, reads, knobs)
        rows = (wanted & seen.there).any(axis=1)
        inside = seen.there[rows]
        trees = grow_boosted_trees(
            seen.table[rows][inside], wanted[rows][inside], inside.sum(axis=1), seen.rising,
            start=STEEP * seen.tuned[rows][inside], seed=seed,
        )  # fmt: skip
        return cls(trees, reads, _plain(knobs), int(rows.sum()))

    def ranks(self, query: str, candidates: Candidates) -> Floats | None:
        """Score candidates of Q questions, shape (Q, C): 1 for a question's best, 0 for its worst.

        None where a signal is missing that it reads, as when a reranker failed.
        """
        if not set(self.reads) <= candidates.signals.keys():
            return None
        seen = RankerInputs.of(candidates, self.reads, self.knobs)
        scores = np.full(seen.there.shape, np.nan)
        scores[seen.there] = self.trees.scores(seen.table[seen.there])
        scores += STEEP * np.where(seen.there, seen.tuned, np.nan)
        low = np.min(scores, axis=1, initial=np.inf, where=seen.there, keepdims=True)
        high = np.max(scores, axis=1, initial=-np.inf, where=seen.there, keepdims=True)
        spread = np.where(high > low, high - low, 1)
        return np.asarray((scores - low) / spread, dtype=np.float32)

    def dump(self) -> StoredPart:
        weighed = {name: value for name, value in self.knobs.numbers.items() if _counts(name)}
        facts = {"reads": list(self.reads), "weighed": weighed, "count": self.count}
        return StoredPart(facts, self.trees.arrays)

    @classmethod
    def restored(cls, held: StoredPart) -> Self:
        reads, weighed = held.facts.get("reads"), held.facts.get("weighed")
        if not isinstance(reads, list) or not reads or not all(isinstance(n, str) for n in reads):
            raise InputError("A ranker lacks the names of the signals that it reads.")
        if not isinstance(weighed, Mapping) or not all(map(_counts, weighed)):
            raise InputError("A ranker lacks the weights that it goes on from.")
        count = held.facts.get("count")
        return cls(
            Trees.checked(held.arrays, feature_count(len(reads))),
            tuple(reads),
            KnobValues.checked(dict(weighed)),
            count if type(count) is int else 0,
        )

    @property
    def described(self) -> str:
        return (
            f"{len(self.trees.roots)} trees over {', '.join(self.reads)}, learned from "
            f"{self.count} questions"
        )


@dataclass(frozen=True)
class RankerInputs:
    """What trees see of the candidates of Q questions.

    Attributes:
        table: Shape (Q, C, F), finite.
        there: Which candidates there are, shape (Q, C).
        tuned: The score that knobs give them, shape (Q, C).
        rising: For every feature whether more of it can only be better (1), or not (0).
    """

    table: Array
    there: Array
    tuned: Array
    rising: tuple[int, ...]

    @classmethod
    def of(cls, candidates: Candidates, reads: tuple[str, ...], knobs: KnobValues) -> Self:
        """Look at signals by these names, and at what such knobs make of them."""
        there = np.zeros(candidates.tokens.shape, dtype=np.bool_)
        for row, ids in enumerate(candidates.ids):
            there[row, : len(ids)] = True
        own = {name: candidates.signals[name] for name in reads if knobs.weight(name)}
        tuned = fuse_signals(own, candidates.by_signal, knobs, visible=there)
        columns = [(np.log1p(candidates.tokens), 0)]
        for name in reads:
            columns += _of_signal(candidates, name, knobs, there)
        columns += [(one, 1) for one in _among(np.where(there, tuned, np.nan))]
        table = np.stack([np.where(there, one, 0) for one, _ in columns], axis=-1)
        rising = tuple(one for _, one in columns)
        return cls(np.nan_to_num(table).astype(np.float32), there, tuned, rising)


_A_SIGNAL = 5


def feature_count(signals: int) -> int:
    """How many features there are for so many signals: length, theirs, and the tuned score's."""
    return 1 + _A_SIGNAL * signals + _A_SIGNAL - 1


def _of_signal(
    candidates: Candidates, name: str, knobs: KnobValues, there: Array
) -> Iterator[tuple[Array, int]]:
    """Its scores among those of the question, and whether it has one at all."""
    signal, raw = candidates.by_signal[name], candidates.signals[name]
    scores = signal.filled(signal.scaled(raw, knobs.numbers))
    yield from ((one, 1) for one in _among(np.where(there, scores, np.nan)))
    yield (there & ~np.isnan(raw)).astype(np.float32), 0


def _among(scores: Array) -> tuple[Array, Array, Array, Array]:
    """Scores as they are, under the question's best, in its standard deviations, and by rank."""
    known = ~np.isnan(scores)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    best = np.max(scores, axis=1, initial=-np.inf, where=known, keepdims=True)
    mean = np.sum(scores, axis=1, where=known, keepdims=True) / count
    spread = np.sqrt(np.sum((scores - mean) ** 2, axis=1, where=known, keepdims=True) / count)
    order: Integers = ranks_by_row(scores.astype(np.float32))
    return scores, scores - best, (scores - mean) / (spread + 1e-6), 1 / (1.0 + order)


def _read(candidates: Candidates, knobs: KnobValues) -> tuple[str, ...]:
    """Signals of every program of this shape, and learned ones that were kept; sorted."""
    return tuple(sorted(
        name for name in candidates.signals if name not in LEARNED or knobs.weight(name)
    ))  # fmt: skip


def _plain(knobs: KnobValues) -> KnobValues:
    """What counts for a score, and the defaults."""
    return KnobValues.checked({name: v for name, v in knobs.numbers.items() if _counts(name)})


def _counts(name: Any) -> bool:
    return isinstance(name, str) and (name.startswith(WEIGHT) or "." in name)
