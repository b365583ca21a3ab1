from __future__ import annotations

import errno
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ragwright.optimize.retrieval.labels import LabelKind, Labels
from ragwright.optimize.retrieval.relevance import Relevance
from ragwright.optimize.retrieval.replay import LabelledCandidates, retrieval_table
from ragwright.optimize.retrieval.search import (
    Search,
    average_trials,
    reading_variations,
    search_knobs,
)
from ragwright.optimize.retrieval.space import SearchSettings, Walk
from ragwright.optimize.scoring.attribution import FAILURES, attribute, count_failures
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.programs.candidates import Candidates
from ragwright.programs.knobs import KnobValues
from ragwright.programs.neighbours import ChunkFacts, Surroundings
from ragwright.programs.signals import SOURCES, Signal
from ragwright.retrievers.returned import Sides

START = KnobValues.dense(k=5)
Q, C = 60, 30


def labelled(*, informative: bool) -> LabelledCandidates:
    """Questions with one relevant candidate each, which only BM25 can tell, or nothing can."""
    rng = np.random.default_rng(0)
    dense = rng.random((Q, C), dtype=np.float32)
    bm25 = rng.random((Q, C), dtype=np.float32)
    wanted = rng.integers(0, C, Q)
    if informative:
        bm25[np.arange(Q), wanted] = 1.5
    facts = np.zeros((Q, C, 1), dtype=bool)
    facts[np.arange(Q), wanted, 0] = True
    ids = tuple(tuple(f"{row}-{place}" for place in range(C)) for row in range(Q))
    candidates = Candidates(ids, {"dense": dense, "bm25": bm25}, np.full((Q, C), 100))
    units = np.tile(np.arange(C), (Q, 1))
    return LabelledCandidates(candidates, Relevance(facts, units, np.ones((Q, 1))))


def settings(trials: int = 25) -> SearchSettings:
    return SearchSettings(RankingMetric.parse("ndcg@10"), trials, 3, SOURCES, seed=1)


def run(table: LabelledCandidates, folder: Path, trials: int = 25) -> Search:
    groups = [str(row // 2) for row in range(Q)]
    return search_knobs(table, START, START, settings(trials), groups=groups, folder=folder)


def test_a_better_way_is_found(tmp_path: Path) -> None:
    found = run(labelled(informative=True), tmp_path)
    assert not found.kept_start
    assert found.gain > 0.3
    assert found.best.weight_bm25 > found.best.weight_dense
    assert max(trial.score for trial in found.trials) > found.trials[0].score + 0.3
    assert found.best.k == START.k


def test_few_trials_of_a_parameter_are_no_reason_to_warn(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = run(labelled(informative=True), tmp_path, trials=6)
    assert sum(found.importance.values()) == pytest.approx(1)


def test_where_nothing_helps_nothing_is_gained(tmp_path: Path) -> None:
    found = run(labelled(informative=False), tmp_path)
    assert abs(found.gain) < 2 * found.standard_error


def test_a_start_that_is_surely_better_is_kept(tmp_path: Path) -> None:
    table = labelled(informative=True)
    wanted = table.relevance.facts[:, :, 0]
    # Dense scores put what is wanted last, so that any share of them does harm.
    table.candidates.signals["dense"][:] = np.where(
        wanted, 0, table.candidates.signals["dense"] + 5
    )
    start = START.replaced(weight_dense=0.0, weight_bm25=1.0)
    groups = [str(row // 2) for row in range(Q)]
    found = search_knobs(table, start, START, settings(), groups=groups, folder=tmp_path)
    assert found.best == start
    assert found.kept_start
    assert not found.fixed


def test_a_fixed_way_that_is_surely_better_than_the_search_is_taken(tmp_path: Path) -> None:
    table = labelled(informative=True)
    dense = np.random.default_rng(1).random((Q, C), dtype=np.float32)
    wanted = table.relevance.facts[:, :, 0]
    # Dense scores put what is wanted last, so that any share of them does harm.
    table.candidates.signals["dense"][:] = np.where(wanted, 0, 5 + dense)
    found = run(table, tmp_path)
    assert found.fixed == "BM25"
    assert found.best == START.replaced(
        weight_dense=0.0, weight_bm25=1.0, depth_dense=100, depth_bm25=100
    )
    assert table.scores(found.best, settings().metric).mean() == 1.0


def test_the_best_trials_are_averaged_and_drawn_half_way_to_a_fixed_way() -> None:
    signals = [*SOURCES, Signal("late")]
    goal = KnobValues(weight_dense=0.5, weight_bm25=0.5).replaced(weight_late=1.0)
    trials = [
        KnobValues(weight_dense=1.0, weight_bm25=0.0, depth_dense=10),
        KnobValues(weight_dense=0.2, weight_bm25=0.2, diversity=0.3).replaced(weight_late=0.4),
    ]
    start = START.replaced(weight_other=0.7)
    found = average_trials(trials, start, goal, signals)
    shares = {"dense": 0.4375, "bm25": 0.1875, "late": 0.375}
    assert found.weights == pytest.approx({**shares, "other": 0.7})
    assert (found.depth_dense, found.rerank_depth, found.diversity, found.k) == (100, 100, 0, 5)
    nothing = average_trials([], START, goal, signals)
    assert nothing.weights == {"dense": 0.25, "bm25": 0.25, "late": 0.5}


def test_the_shortlist_has_distinct_settings_and_fewer_passages_where_they_suffice(
    tmp_path: Path,
) -> None:
    found = run(labelled(informative=True), tmp_path)
    assert found.shortlist[0] == found.best
    assert len(set(found.shortlist)) == len(found.shortlist)
    # BM25 puts what is wanted first: one passage holds all that five do.
    assert {knobs.k for knobs in found.shortlist} == {1, 5}


def test_what_the_reader_gets_of_a_setting_is_varied_one_at_a_time() -> None:
    others = reading_variations(START)
    assert [(knobs.order, knobs.neighbours) for knobs in others] == [
        ("document", 0), ("edges", 0), ("rank", 1),
    ]  # fmt: skip
    assert all(knobs.replaced(order="rank", neighbours=0) == START for knobs in others)
    assert [
        knobs.neighbours for knobs in reading_variations(START.replaced(k=1, neighbours=1))
    ] == [0]


def test_a_search_goes_on_where_it_stopped_and_proposes_the_same(tmp_path: Path) -> None:
    table = labelled(informative=True)
    whole = run(table, tmp_path / "whole")
    run(table, tmp_path / "parts", trials=9)
    resumed = run(table, tmp_path / "parts")
    assert [trial.knobs for trial in resumed.trials] == [trial.knobs for trial in whole.trials]
    assert resumed.best == whole.best


def test_a_journal_whose_last_line_was_cut_is_still_read(tmp_path: Path) -> None:
    run(labelled(informative=True), tmp_path, trials=9)
    with (tmp_path / "search.jsonl").open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    assert len(Walk(tmp_path, START, settings()).done) == 9


@pytest.mark.parametrize("how", ["cut", "other", "gone"])
def test_a_damaged_journal_is_made_again_and_comes_to_the_same(tmp_path: Path, how: str) -> None:
    table = labelled(informative=True)
    whole = run(table, tmp_path, trials=9)
    journal = tmp_path / "search.jsonl"
    data = journal.read_bytes()
    if how == "gone":
        journal.with_suffix(".sum").unlink()
    else:
        journal.write_bytes(data[:-20] if how == "cut" else data.replace(b"0.", b"1.", 1))
    assert Walk(tmp_path, START, settings()).done == []
    assert run(table, tmp_path, trials=9).best == whole.best


def test_a_full_disk_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = Walk(tmp_path, START, settings())

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.symlink", full)
    with pytest.raises(OSError, match="No space left"):
        walk.step(lambda _: 1.0)
    with pytest.raises(OSError, match="No space left"):
        Walk(tmp_path / "new", START, settings())


def test_without_labels_trials_or_choice_nothing_is_searched(tmp_path: Path) -> None:
    table = labelled(informative=True)
    nothing = LabelledCandidates(
        table.candidates,
        Relevance(table.relevance.facts & False, table.relevance.units, np.zeros((Q, 1))),
    )
    assert run(nothing, tmp_path).trials == ()
    assert run(table, tmp_path, trials=0).best == START
    assert retrieval_table(nothing, {}) == ()


def test_the_context_has_to_hold_what_is_ranked(tmp_path: Path) -> None:
    table, metric = labelled(informative=True), RankingMetric.parse("recall@10")
    knobs = KnobValues(weight_dense=0.0, weight_bm25=1.0, k=10, context_tokens=1000)
    assert table.scores(knobs, metric).mean() == 1
    noise = KnobValues.dense(k=10).replaced(context_tokens=1000)
    assert table.scores(noise.replaced(context_tokens=100), metric).mean() < (
        table.scores(noise, metric).mean()
    )


def test_every_failure_is_told_apart() -> None:
    dense = np.array([[0.9, 0.8, 0.7]] * 6, dtype=np.float32)
    facts = np.zeros((6, 3, 1), dtype=bool)
    for row, column in ((2, 2), (3, 1), (4, 0)):
        facts[row, column, 0] = True
    ideal = np.array([[0.0], [1.0], [1.0], [1.0], [1.0], [0.0]])
    candidates = Candidates(
        (("a", "b", "c"),) * 6,
        {"dense": dense, "bm25": np.full_like(dense, np.nan)},
        np.full((6, 3), 60),
    )
    units, answers = np.tile(np.arange(3), (6, 1)), np.arange(6) == 5
    relevance = Relevance(facts, units, ideal, answers=answers)
    table = LabelledCandidates(candidates, relevance)
    places = attribute(table, KnobValues.dense(k=2).replaced(context_tokens=100))
    assert places == FAILURES
    assert count_failures(places, [True, False, True, True, True, True])["not in pool"] == 0


def beside(kind: LabelKind) -> LabelledCandidates:
    """Candidate "a" holds nothing; "b", which is no candidate, follows it and holds the answer."""
    pieces = {"a": ChunkFacts(60, 1), "b": ChunkFacts(60, 2), "c": ChunkFacts(60, 3)}
    sides: dict[str, Sides] = {"a": ((), ("b",)), "c": ((), ())}
    candidates = replace(
        Candidates.union({"a": 0.9, "c": 0.8}, {}, dict.fromkeys("ac", 64)),
        around=Surroundings(sides, pieces),
    )
    labels = Labels((kind,), ({"b": frozenset({0})},), np.ones((1, 1)), {})
    return LabelledCandidates(candidates, Relevance.of(labels, candidates))


@pytest.mark.parametrize(("kind", "seen"), [("answer", 1.0), ("evidence", 0.0)])
def test_a_neighbour_counts_where_answers_are_looked_for(kind: LabelKind, seen: float) -> None:
    table, metric = beside(kind), RankingMetric.parse("ndcg@10")
    knobs = KnobValues.dense(k=2).replaced(context_tokens=500)
    assert table.scores(knobs, metric) == [0.0]
    assert table.scores(knobs.replaced(neighbours=1), metric) == [seen]
    assert table.scores(knobs.replaced(neighbours=1, context_tokens=150), metric) == [0.0]


def test_what_a_neighbour_brings_into_the_context_is_not_lost() -> None:
    table = beside("evidence")
    knobs = KnobValues.dense(k=2).replaced(context_tokens=500)
    assert attribute(table, knobs) == ("not in pool",)
    assert attribute(table, knobs.replaced(neighbours=1)) == ("in context but misread",)


def test_neighbours_are_tried_where_the_metric_sees_them(tmp_path: Path) -> None:
    table, tried = labelled(informative=True), {}
    for known in (False, True):
        walk = Walk(tmp_path / str(known), START, replace(settings(), neighbours=known))
        steps = [walk.step(lambda knobs: float(knobs.weight_bm25)) for _ in range(25)]
        tried[known] = {knobs.neighbours for knobs in steps}
    assert tried == {False: {0}, True: {0, 1, 2}}
    wider = START.replaced(neighbours=1)
    assert (table.scores(START, settings().metric) == table.scores(wider, settings().metric)).all()


@pytest.mark.parametrize("wrong", [[True], [True] * 7])
def test_failures_and_answers_must_match(wrong: list[bool]) -> None:
    with pytest.raises(ValueError, match="zip"):
        count_failures(FAILURES, wrong)
