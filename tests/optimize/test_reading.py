"""Which ways to read a ranking are worth asking a language model about."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.optimize.retrieval.reading import SHARES, best_contexts, context_sizes
from ragwright.optimize.retrieval.relevance import Relevance
from ragwright.optimize.retrieval.replay import READ, LabelledCandidates
from ragwright.programs.candidates import Candidates
from ragwright.programs.knobs import KnobValues

Q, C = 24, 30


def ranked(places: list[int], tokens: int = 100, drop: float = 0.0) -> LabelledCandidates:
    """Candidates in the order of their score; question q wants the one at places[q % len]."""
    scores = np.tile(np.linspace(1.0, 0.5, C, dtype=np.float32), (Q, 1))
    wanted = np.resize(places, Q)
    for row, place in enumerate(wanted):
        scores[row, place + 1 :] -= drop
    facts = np.zeros((Q, C, 1), dtype=bool)
    facts[np.arange(Q), wanted, 0] = True
    ids = tuple(tuple(f"{row}-{place}" for place in range(C)) for row in range(Q))
    found = Candidates(ids, {"dense": scores}, np.full((Q, C), tokens))
    return LabelledCandidates(
        found, Relevance(facts, np.tile(np.arange(C), (Q, 1)), np.ones((Q, 1)))
    )


START = KnobValues.dense(k=5)


def read(table: LabelledCandidates, knobs: KnobValues) -> float:
    return table.row("way", knobs).means[READ]


def test_more_passages_are_tried_where_they_hold_more() -> None:
    table = ranked([0, 6, 15])
    ways = best_contexts(table, START)
    assert max(knobs.k for knobs in ways) == 20
    assert max(read(table, knobs) for knobs in ways) == 1.0
    assert min(knobs.k for knobs in ways) == 1


def test_a_larger_budget_is_tried_where_passages_did_not_fit() -> None:
    table = ranked([0, 3], tokens=1000)
    assert read(table, START) == 0.5
    (wider,) = [knobs for knobs in best_contexts(table, START) if read(table, knobs) == 1.0]
    assert wider.context_tokens >= 4000


def test_nothing_is_tried_that_takes_as_much_and_holds_no_more() -> None:
    assert [knobs.k for knobs in best_contexts(ranked([0]), START)] == [1]


def test_a_threshold_is_tried_where_scores_fall_behind_what_is_wanted() -> None:
    # One passage or three are wanted, and what comes after scores far less.
    table = ranked([0, 0, 0, 12], drop=0.4)
    ways = best_contexts(table, START)
    assert any(knobs.score_threshold for knobs in ways)


@settings(max_examples=12)
@given(st.lists(st.integers(0, C - 1), min_size=1, max_size=8), st.integers(20, 900),
       st.integers(1, 20), st.integers(64, 4000))  # fmt: skip
def test_what_goes_on_is_never_dominated(
    places: list[int], tokens: int, k: int, budget: int
) -> None:
    table, start = ranked(places, tokens), KnobValues.dense(k=k).replaced(context_tokens=budget)
    ways = best_contexts(table, start)
    assert len(ways) <= len(SHARES)
    held = [read(table, knobs) for knobs in ways]
    assert held == sorted(set(held))
    assert all(1 <= knobs.k <= 20 for knobs in ways)
    assert start not in ways


def test_without_labels_fewer_and_more_passages_are_tried() -> None:
    table = ranked([0])
    table.relevance.ideal[:] = 0
    assert best_contexts(table, START) == context_sizes(START)
    assert [knobs.k for knobs in context_sizes(START)] == [1, 2, 10, 20]
    assert [knobs.context_tokens for knobs in context_sizes(START)] == [500, 1000, 4000, 8000]
    assert [knobs.k for knobs in context_sizes(START.replaced(k=1))] == [2, 4]
