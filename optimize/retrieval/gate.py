"""Decides whether a learned source or ranker is kept, by its scores on held-out questions.

How a part is laid over the tuned knobs is chosen on some folds and judged on another; it is kept
only if what that gains is proven (the whole interval above 0, and a permutation test that agrees),
and if on documents that it had not learned of it does no significant harm. What other gates came
to is in docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.retrieval.replay import LabelledCandidates
from ragwright.optimize.scoring.familiarity import FamiliarityGroup, compare_seen_and_unseen
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.scoring.statistics import Gain, Scores, paired_gain, standard_error
from ragwright.programs.knobs import KnobValues
from ragwright.programs.learned import PARTS, LearnedPart
from ragwright.programs.learned.base import WeightChoice

SURE = 1.96
"""Standard errors of a difference that chance alone seldom makes."""
LEVEL = 0.05
FEW = 6
"""Fewer differences than these are never significant: all of one sign they come to p = 0.06."""
HARM = "did not help: it does harm on documents that it had not learned of"
NO_GAIN = "did not help"
KEPT = "is kept"


@dataclass(frozen=True)
class GatedSource:
    """What became of one learned source.

    Attributes:
        name: Of its signal.
        place: The stage's knobs.
        kept: Whether it is part of what goes on to the answers.
        why: In a few words.
        described: What it was learned from.
        metric: What it was judged by.
        gain: Over the tuned knobs, on questions it was not learned from; None if it was not tried.
        familiar: The same where those it was learned from name the document, and where not.
        choice: Its share of the weight, and its numbers; empty if it is not kept.
    """

    name: str
    place: str
    kept: bool
    why: str
    described: str = ""
    metric: str = ""
    gain: Gain | None = None
    familiar: tuple[FamiliarityGroup, ...] = ()
    choice: dict[str, float] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """What people read."""
        source = PARTS[self.name].signal.source
        return f"The learned source {self.name!r}" if source else f"The learned {self.name!r}"

    @property
    def told(self) -> str:
        """A sentence for the notes of a report."""
        if self.gain is None:
            return f"{self.called} was not tried: {self.why}."
        gains = [f"{one.name} documents {_signed(one.gain)} ({one.n})" for one in self.familiar
                 if one.gain]  # fmt: skip
        return (
            f"{self.called} {self.why}: {self.metric} {_signed(self.gain)} over "
            f"the tuned knobs on {self.gain.n} questions that it was not learned from; "
            f"{', '.join(gains)}."
        )

    @property
    def facts(self) -> dict[str, Any]:
        """The same in plain values."""
        gain = self.gain
        return {
            "name": self.name, "stage": self.place, "kept": self.kept, "why": self.why,
            "described": self.described, "metric": self.metric, "choice": dict(self.choice),
            "gain": gain and {"n": gain.n, "mean": gain.gain, "low": gain.low, "high": gain.high},
            "familiar": [
                {"name": one.name, "n": one.n, "gain": one.gain.gain if one.gain else None,
                 "low": one.gain.low if one.gain else None,
                 "high": one.gain.high if one.gain else None}
                for one in self.familiar
            ],
        }  # fmt: skip


@dataclass(frozen=True)
class GateData:
    """Stored candidates with a learned source's scores, and what is known of every row.

    Attributes:
        labelled: Candidates and labels; scores of the source are those of the fold that a
            question was not learned in.
        folds: The fold of every row, shape (R,).
        seen: Whether what it was learned from names the row's documents, shape (R,).
        groups: Of every row: what is resampled together.
        metric: What is maximised.
        seed: Of the resampling.
    """

    labelled: LabelledCandidates
    folds: NDArray[np.int64]
    seen: NDArray[np.bool_]
    groups: Sequence[str]
    metric: RankingMetric
    seed: int = 0


@dataclass(frozen=True)
class GateRuling:
    """What the gate says of one part.

    Attributes:
        gain: Over the tuned knobs on held-out folds.
        familiar: The same on seen and on unseen documents.
        choice: How all questions together lay it; None if nothing is better than without.
        harms: Whether it does significant harm on documents that it had not learned of.
    """

    gain: Gain
    familiar: tuple[FamiliarityGroup, ...]
    choice: WeightChoice | None
    harms: bool

    @property
    def kept(self) -> bool:
        """Whether the part is let through."""
        return self.gain.proven and self.choice is not None and not self.harms

    @property
    def why(self) -> str:
        """In a few words."""
        if self.kept:
            return KEPT
        return HARM if self.harms else NO_GAIN


def gate_part(part: type[LearnedPart], tuned: KnobValues, judged: GateData) -> GateRuling:
    """Choose how a part is laid over tuned knobs, and say what that is worth where it counts."""
    known = np.asarray(judged.labelled.relevance.ideal.any(axis=1), dtype=np.bool_)
    before = judged.labelled.scores(tuned, judged.metric)[known]
    table = np.stack([
        judged.labelled.scores(part.laid(tuned, choice), judged.metric)[known]
        for choice in part.choices
    ])  # fmt: skip
    folds, seen = judged.folds[known], judged.seen[known]
    after = _held_out(table, before, folds, seen)
    groups = [judged.groups[row] for row in np.flatnonzero(known).tolist()]
    gain = paired_gain(before, after, groups=groups, seed=judged.seed)
    familiar = compare_seen_and_unseen(seen, before, after, groups=groups, seed=judged.seed)
    chosen = _best(table, before, seen)
    unseen = familiar[1].gain
    harms = unseen is not None and unseen.high < 0 and unseen.p <= LEVEL
    choice = None if chosen is None else part.choices[chosen]
    return GateRuling(gain, familiar, choice, harms)


def _held_out(
    table: Scores, before: Scores, folds: NDArray[np.int64], seen: NDArray[np.bool_]
) -> Scores:
    """Score of every question under what the other folds choose, shape (Q,)."""
    after = np.empty_like(before)
    if len(table) == 1:  # there is nothing to choose
        after[:] = table[0]
        return after
    for fold in set(folds.tolist()):
        inside = folds == fold
        best = _best(table[:, ~inside], before[~inside], seen[~inside])
        after[inside] = before[inside] if best is None else table[best, inside]
    return after


def _best(table: Scores, before: Scores, seen: NDArray[np.bool_]) -> int | None:
    """The row of the best mean among those that do unseen documents no significant harm."""
    if not table.shape[1]:
        return None
    for row in np.argsort(-table.mean(axis=1), kind="stable").tolist():
        if table[row].mean() <= before.mean():
            return None
        lost = (table[row] - before)[~seen]
        if len(lost) < FEW or lost.mean() + SURE * standard_error(lost) >= 0:
            return int(row)
    return None


def _signed(gain: Gain | None) -> str:
    assert gain is not None
    return f"{gain.gain:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
