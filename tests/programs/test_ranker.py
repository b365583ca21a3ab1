"""The learned ranker: its trees are LightGBM's, live is replay, and no file can mislead it."""

from __future__ import annotations

import asyncio
from typing import Any

import lightgbm
import numpy as np
import pytest

from ragwright.optimize.retrieval.pool import CandidatePool
from ragwright.programs.candidates import Candidates
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.learned import Ranker, StoredPart
from ragwright.programs.learned.ranker import RankerInputs, feature_count
from ragwright.programs.learned.trees import (
    MOST_DEPTH,
    PARAMETERS,
    ROUNDS,
    Trees,
    grow_boosted_trees,
)
from ragwright.programs.replaying import replay_from_pool
from ragwright.programs.rerank import MaxSim, RerankRetriever
from ragwright.retrievers.errors import InputError, StageError

QUERIES = ["the loveliest town", "a crab to mend", "the capital of Italy", "gulls", "coffee"]
TUNED = KnobValues(weight_dense=0.3, weight_bm25=0.3, weight_maxsim=0.4)
LAID = Ranker.laid(TUNED.replaced(k=4), {"share": 0.98})


def drawn(questions: int = 200, width: int = 30) -> tuple[Candidates, Any]:
    """Candidates of which the long ones are wanted, whatever the signals say."""
    rng = np.random.default_rng(0)
    ids = tuple(tuple(f"{q}-{c}" for c in range(width)) for q in range(questions))
    shape = (questions, width)
    signals = {name: rng.random(shape).astype(np.float32) for name in ("dense", "bm25")}
    signals["bm25"][rng.random(shape) < 0.3] = np.nan
    tokens = rng.integers(10, 400, shape)
    return Candidates(ids, signals, tokens), tokens > 300


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return Ranker.learned(*drawn(), TUNED)


def stage(path: str, *parts: Any, knobs: KnobValues = LAID) -> RerankRetriever:
    found = RerankRetriever(HybridRetriever(path, knobs=Knobs(knobs)), MaxSim(path))
    found.knobs.learn(*parts)
    return found


@pytest.fixture(scope="module")
def taught(index_path: str) -> Ranker:
    """A ranker of a whole stage, which likes short passages."""
    plain = stage(index_path, knobs=TUNED)
    found = Candidates.stack([plain.gather(query) for query in QUERIES * 40])
    wanted = found.tokens <= np.median(found.tokens[found.tokens > 0])
    return Ranker.learned(found, wanted & (found.tokens > 0), TUNED)


def test_trees_add_up_to_what_lightgbm_predicts() -> None:
    candidates, wanted = drawn()
    seen = RankerInputs.of(candidates, ("bm25", "dense"), TUNED)
    assert seen.table.shape[2] == feature_count(2) == len(seen.rising)
    table, sizes = seen.table[seen.there], seen.there.sum(axis=1)
    trees = grow_boosted_trees(table, wanted[seen.there], sizes, seen.rising)
    data = lightgbm.Dataset(table, wanted[seen.there].astype(np.int32), group=sizes)
    asked = {**PARAMETERS, "seed": 0, "monotone_constraints": list(seen.rising)}
    model = lightgbm.train(asked, data, ROUNDS)
    assert np.unique(trees.scores(table)).size > 10
    np.testing.assert_allclose(trees.scores(table), model.predict(table), atol=1e-9)
    other = np.random.default_rng(1).normal(size=(500, feature_count(2)))
    np.testing.assert_allclose(trees.scores(other), model.predict(other), atol=1e-9)


def test_what_no_signal_tells_is_learned_from_length(ranker: Ranker) -> None:
    candidates, wanted = drawn()
    scores = ranker.ranks("", candidates)
    assert scores is not None
    assert (scores.min(), scores.max()) == (0, 1)
    best = np.argsort(-scores, axis=1)[:, :1]
    plain = np.argsort(-RankerInputs.of(candidates, ranker.reads, TUNED).tuned, axis=1)[:, :1]
    first, before = (np.take_along_axis(wanted, one, axis=1).mean() for one in (best, plain))
    assert first > before + 0.3


def test_what_is_kept_ranks_alike(ranker: Ranker) -> None:
    candidates, _ = drawn()
    again = Ranker.restored(ranker.dump())
    assert again.fingerprint == ranker.fingerprint
    assert again.described == ranker.described
    assert "trees over bm25, dense, learned from 200 questions" in again.described
    np.testing.assert_array_equal(again.ranks("", candidates), ranker.ranks("", candidates))
    one = candidates.take([3])
    np.testing.assert_array_equal(ranker.ranks("", one)[0], ranker.ranks("", candidates)[3])  # type: ignore[index]


def test_replay_awaiting_and_live_rank_alike(index_path: str, taught: Ranker) -> None:
    ranked, plain, pool = stage(index_path, taught), stage(index_path, knobs=TUNED), CandidatePool()
    differs = 0
    for query in QUERIES:
        live = ranked(query)
        with replay_from_pool(pool):
            replayed = ranked(query)
        awaited = asyncio.run(ranked.acall(query))
        assert live.ids == replayed.ids == awaited.ids
        assert live.scores == pytest.approx(replayed.scores)
        assert "ranker" in live.passages[0].signals
        differs += live.ids != plain(query, 4).ids
    assert pool.fetched == len(QUERIES)
    assert differs


def test_without_a_signal_that_it_reads_the_others_decide(
    index_path: str, taught: Ranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stage(index_path, taught)
    lame = HybridRetriever(index_path, knobs=Knobs(LAID))
    lame.knobs.learn(taught)
    found = lame(QUERIES[0])
    assert "ranker" not in found.passages[0].signals
    assert found.ids

    def fails(*_: Any) -> Any:
        raise StageError("It is down.")

    monkeypatch.setattr(type(whole.guard), "call", lambda self, name, *rest: (
        fails() if name == "rerank" else rest[1]()))  # fmt: skip
    assert whole(QUERIES[0]).ids


def changed(held: StoredPart, name: str, **cells: Any) -> StoredPart:
    arrays = {key: value.copy() for key, value in held.arrays.items()}
    for place, value in cells.items():
        row, column = (int(one) for one in place[1:].split("_"))
        arrays[name][row, column] = value
    return StoredPart(held.facts, arrays)


def test_no_file_can_lead_it_astray(ranker: Ranker) -> None:
    held = ranker.dump()
    inner = int(np.flatnonzero(held.arrays["nodes"][:, 0] >= 0)[0])
    chain = np.array([[0, n + 1, n + 2] for n in range(2 * MOST_DEPTH)] + [[-1, 0, 0]] * 2)
    arrays: dict[str, Any] = dict(held.arrays)
    deep: dict[str, Any] = {"roots": np.zeros(1, np.int32), "nodes": chain.astype(np.int32),
            "numbers": np.zeros((len(chain), 2))}  # fmt: skip
    wrong = [
        changed(held, "nodes", **{f"_{inner}_1": inner}),  # a circle
        changed(held, "nodes", **{f"_{inner}_2": len(arrays["nodes"])}),
        changed(held, "nodes", **{f"_{inner}_0": feature_count(2)}),
        changed(held, "nodes", **{f"_{inner}_0": -2}),
        changed(held, "numbers", **{f"_{inner}_0": np.nan}),
        StoredPart(held.facts, deep),
        StoredPart(held.facts, {**arrays, "roots": arrays["roots"] + len(arrays["nodes"])}),
        StoredPart(held.facts, {**arrays, "roots": np.zeros(5_000, np.int32)}),
        StoredPart(held.facts, {**arrays, "nodes": arrays["nodes"].astype(float)}),
        StoredPart(held.facts, {**arrays, "numbers": arrays["numbers"][:-1]}),
        StoredPart(held.facts, {}),
        StoredPart({**held.facts, "reads": []}, arrays),
        StoredPart({**held.facts, "reads": [3]}, arrays),
        StoredPart({**held.facts, "weighed": {"k": 3}}, arrays),
        StoredPart({**held.facts, "weighed": {"weight_dense": 0.0, "weight_bm25": 0.0}}, arrays),
        StoredPart({**held.facts, "weighed": {"weight_dense": "much"}}, arrays),
    ]
    for number, one in enumerate(wrong):
        try:
            Ranker.restored(one)
        except InputError:
            continue
        pytest.fail(f"{number} was taken")


def test_trees_without_a_question_say_nothing() -> None:
    assert Trees.checked(
        {"roots": np.zeros(0, np.int32), "nodes": np.zeros((0, 3), np.int32),
         "numbers": np.zeros((0, 2))}, 5
    ).scores(np.zeros((3, 5))).tolist() == [0, 0, 0]  # fmt: skip
