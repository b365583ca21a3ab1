"""What was learned needs proof to get through the gate, a source as a ranker."""

from __future__ import annotations

import numpy as np

from ragwright.optimize.retrieval.gate import (
    KEPT,
    NO_GAIN,
    GateData,
    GateRuling,
    gate_part,
)
from ragwright.optimize.retrieval.relevance import Relevance
from ragwright.optimize.retrieval.replay import LabelledCandidates
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.programs.candidates import Candidates
from ragwright.programs.knobs import KnobValues
from ragwright.programs.learned import LearnedPart, QueryAdapter, Ranker

COUNT = 40
MEANT = 1
"""Of two passages the one that is wanted."""


def ruled(part: type[LearnedPart], better: int, worse: int) -> GateRuling:
    """Ask about a part that turns so many questions to the better, and so many to the worse."""
    dense = np.tile(np.array([0.4, 0.6], dtype=np.float32), (COUNT, 1))
    dense[:better] = dense[:better, ::-1]
    scores = np.tile(np.array([0.0, 1.0], dtype=np.float32), (COUNT, 1))
    scores[better : better + worse] = [1.0, 0.0]
    found = Candidates(
        ids=tuple((f"{row} a", f"{row} b") for row in range(COUNT)),
        signals={"dense": dense, part.signal.name: scores},
        tokens=np.ones((COUNT, 2), dtype=np.int64),
        declared=(part.signal,),
    )
    facts = np.zeros((COUNT, 2, 1), dtype=np.bool_)
    facts[:, MEANT] = True
    relevance = Relevance(facts, np.tile(np.arange(2), (COUNT, 1)), np.ones((COUNT, 1)))
    judged = GateData(
        labelled=LabelledCandidates(found, relevance),
        folds=np.arange(COUNT) % 5,
        seen=np.zeros(COUNT, dtype=np.bool_),
        groups=[str(row) for row in range(COUNT)],
        metric=RankingMetric.parse("mrr@10"),
    )
    return gate_part(part, KnobValues.dense(k=10), judged)


def test_a_gain_that_may_be_chance_lets_nothing_through() -> None:
    for part in (Ranker, QueryAdapter):
        ruling = ruled(part, 4, 2)
        assert ruling.gain.gain == 0.5 * 2 / COUNT
        assert not ruling.gain.proven
        assert (ruling.kept, ruling.why) == (False, NO_GAIN)


def test_a_gain_that_is_shown_lets_both_through() -> None:
    for part in (Ranker, QueryAdapter):
        ruling = ruled(part, 20, 0)
        assert (ruling.kept, ruling.why) == (True, KEPT)


def test_a_ranker_that_is_no_better_is_left_out() -> None:
    for better, worse in ((2, 4), (3, 3), (0, 0)):
        ruling = ruled(Ranker, better, worse)
        assert (ruling.kept, ruling.why) == (False, NO_GAIN)


def test_a_ranker_that_does_harm_is_told_so() -> None:
    ruling = ruled(Ranker, 0, 20)
    assert ruling.harms
    assert "does harm" in ruling.why
