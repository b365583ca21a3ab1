"""The one selection function: worked numbers, and replay equals live for any knobs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragwright.programs.candidates import Candidates
from ragwright.programs.knobs import KnobValues
from ragwright.programs.neighbours import ChunkFacts, Surroundings
from ragwright.programs.rerank import CROSS, MaxSim
from ragwright.programs.selection import Ranking, pack_context, rank, select, shortlist

NAN = float("nan")
SIGNALS = {"maxsim": MaxSim.signal, "cross": CROSS}


def one(dense: dict[str, float], bm25: dict[str, float], **more: dict[str, float]) -> Candidates:
    ids = list(dict.fromkeys([*dense, *bm25]))
    candidates = Candidates.union(dense, bm25, dict.fromkeys(ids, 10))
    for name, scores in more.items():
        columns = np.arange(len(ids))[None, :]
        row = np.array([[scores.get(id, NAN) for id in ids]], dtype=np.float32)
        candidates = candidates.with_signal(SIGNALS[name], columns, row)
    return candidates


def ids_of(candidates: Candidates, ranking: Ranking, row: int = 0) -> list[str]:
    return [candidates.ids[row][column] for column in ranking.columns[row] if column >= 0]


def scores_of(ranking: Ranking, row: int = 0) -> list[float]:
    return [float(score) for score in ranking.scores[row] if not np.isnan(score)]


SEEN = one({"a": 0.9, "b": 0.8, "c": 0.1}, {"c": 8.0, "b": 4.0, "d": 2.0})


def test_reciprocal_rank_fusion_by_hand() -> None:
    ranking = select(SEEN, KnobValues(fusion="rrf", rrf_constant=60))
    # b is second in both; c first in BM25, third in dense; a and d are seen once.
    expected = {
        "b": 0.5 / 62 + 0.5 / 62,
        "c": 0.5 / 63 + 0.5 / 61,
        "a": 0.5 / 61,
        "d": 0.5 / 63,
    }
    order = sorted(expected, key=lambda id: -expected[id])
    assert ids_of(SEEN, ranking) == order
    assert scores_of(ranking) == pytest.approx([expected[id] for id in order])


def test_convex_combination_by_hand() -> None:
    knobs = KnobValues(weight_dense=0.6, weight_bm25=0.2)
    ranking = select(SEEN, knobs)
    # BM25 is divided by its best (8); d counts as the lowest cosine seen (0.1); a has no BM25.
    expected = {
        "a": 0.75 * 0.9,
        "b": 0.75 * 0.8 + 0.25 * 0.5,
        "c": 0.75 * 0.1 + 0.25 * 1.0,
        "d": 0.75 * 0.1 + 0.25 * 0.25,
    }
    assert ids_of(SEEN, ranking) == ["b", "a", "c", "d"]
    assert scores_of(ranking) == pytest.approx([expected[id] for id in "bacd"])


def test_a_cross_encoders_logit_goes_through_the_sigmoid() -> None:
    candidates = one({"a": 0.5, "b": 0.4}, {}, cross={"a": -20.0, "b": 0.0})
    knobs = KnobValues(weight_dense=0.5, weight_bm25=0, weight_cross=0.5)
    ranking = select(candidates, knobs)
    assert ids_of(candidates, ranking) == ["b", "a"]
    assert scores_of(ranking) == pytest.approx([0.2 + 0.25, 0.25])


def test_a_signal_without_weight_changes_nothing() -> None:
    with_maxsim = one({"a": 0.9, "b": 0.8}, {"b": 1.0}, maxsim={"a": 0.0, "b": 1.0})
    without = one({"a": 0.9, "b": 0.8}, {"b": 1.0})
    knobs = KnobValues()
    assert ids_of(with_maxsim, select(with_maxsim, knobs)) == ids_of(
        without, select(without, knobs)
    )


def test_depth_hides_what_a_source_found_later() -> None:
    ranking = select(SEEN, KnobValues(depth_dense=1, depth_bm25=2, k=10))
    # dense shows a alone, BM25 c and b: d is not seen at all.
    assert set(ids_of(SEEN, ranking)) == {"a", "b", "c"}
    assert scores_of(ranking)[0] == pytest.approx(0.5 * 0.9 + 0.5)  # c: its own cosine is hidden


def test_the_threshold_is_a_share_of_the_best_score() -> None:
    knobs = KnobValues(weight_bm25=0, weight_dense=1, score_threshold=0.85)
    assert ids_of(SEEN, select(SEEN, knobs)) == ["a", "b"]
    assert ids_of(SEEN, select(SEEN, knobs.replaced(score_threshold=1.0))) == ["a"]


def test_rerankers_score_the_shortlist_only_and_k_is_never_starved() -> None:
    assert shortlist(SEEN, KnobValues(rerank_depth=2, k=1)).shape == (1, 2)
    assert shortlist(SEEN, KnobValues(rerank_depth=1, k=3)).shape == (1, 3)


def test_packing_passes_over_what_does_not_fit_and_keeps_the_first() -> None:
    candidates = Candidates.union({"a": 0.9, "b": 0.8, "c": 0.7}, {}, {"a": 300, "b": 100, "c": 10})
    ranking = select(candidates, KnobValues.dense())
    assert pack_context(candidates, ranking, 410).tolist() == [[True, True, True]]
    assert pack_context(candidates, ranking, 399).tolist() == [[True, False, True]]
    assert pack_context(candidates, ranking, 64).tolist() == [[True, False, False]]


def test_packing_passes_over_a_text_that_is_there_already() -> None:
    candidates = Candidates.union({"a": 0.9, "b": 0.8, "c": 0.7}, {}, dict.fromkeys("abc", 100))
    pieces = {id: ChunkFacts(100, text) for id, text in (("a", 7), ("b", 7), ("c", 8))}
    candidates = candidates.with_around(Surroundings({}, pieces))
    ranking = Ranking(np.array([[0, 1, 2]]), np.array([[0.9, 0.8, 0.7]], dtype=np.float32))
    assert pack_context(candidates, ranking, 200).tolist() == [[True, False, True]]
    stacked = Candidates.stack([candidates, candidates])
    both = Ranking(np.repeat(ranking.columns, 2, axis=0), np.repeat(ranking.scores, 2, axis=0))
    twice = pack_context(stacked.take([1, 0]), both, 200)
    assert twice.tolist() == [[True, False, True]] * 2


def test_nothing_found_is_an_empty_ranking() -> None:
    nothing = Candidates.union({}, {}, {})
    assert ids_of(nothing, select(nothing, KnobValues(score_threshold=0.5))) == []


def test_only_ids_that_the_index_still_holds_take_part() -> None:
    candidates = Candidates.union({"a": 0.9, "gone": 0.8}, {"gone": 2.0}, {"a": 5})
    assert candidates.ids == (("a",),)


NAMES = [f"p{number}" for number in range(30)]
IDS = st.sampled_from(NAMES)
VECTORS = dict(
    zip(NAMES, np.random.default_rng(0).normal(size=(30, 24)).astype(np.float32), strict=True)
)
COSINES = st.dictionaries(IDS, st.floats(-1, 1, width=32), max_size=20)
BM25 = st.dictionaries(IDS, st.floats(0.015625, 30, width=32), max_size=20)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Candidates, dict[str, dict[str, float]]]:
    """One question's candidates without rerank signals, and what rerankers would say of each."""
    dense = dict(sorted(draw(COSINES).items(), key=lambda item: -item[1]))
    bm25 = dict(sorted(draw(BM25).items(), key=lambda item: -item[1]))
    ids = list(dict.fromkeys([*dense, *bm25]))
    tokens = {id: draw(st.integers(1, 400)) for id in ids}
    rerank = {
        "maxsim": {id: draw(st.floats(-1, 1, width=32)) for id in ids},
        "cross": {id: draw(st.floats(-12, 12, width=32)) for id in ids},
    }
    candidates = Candidates.union(dense, bm25, tokens)
    return candidates.with_vectors({id: VECTORS[id] for id in ids}), rerank


WEIGHT = st.floats(0, 1)
KNOBS = st.builds(
    KnobValues,
    weight_dense=st.floats(0.01, 1),
    weight_bm25=WEIGHT,
    weight_maxsim=st.sampled_from([0.0, 0.5, 1.0]),
    weight_cross=st.sampled_from([0.0, 0.7]),
    fusion=st.sampled_from(["rrf", "convex"]),
    rrf_constant=st.integers(1, 100),
    depth_dense=st.integers(1, 25),
    depth_bm25=st.integers(1, 25),
    rerank_depth=st.integers(1, 30),
    k=st.integers(1, 12),
    score_threshold=st.sampled_from([0.0, 0.3, 0.9]),
    diversity=st.sampled_from([0.0, 0.0, 0.2, 0.5, 1.0]),
    context_tokens=st.integers(64, 1500),
)


def live(candidates: Candidates, rerank: dict[str, Any], knobs: KnobValues) -> Any:
    """What a program does: rerankers see the shortlist, and nothing else."""
    columns = shortlist(candidates, knobs)
    for name, scores in rerank.items():
        if getattr(knobs, f"weight_{name}"):
            row = [scores[candidates.ids[0][c]] if c >= 0 else NAN for c in columns[0]]
            candidates = candidates.with_signal(
                SIGNALS[name], columns, np.array([row], dtype=np.float32)
            )
    return candidates, rank(candidates, columns, knobs)


def stored(candidates: Candidates, rerank: dict[str, Any]) -> Candidates:
    """What a pool keeps: every reranker's score of every candidate."""
    columns = np.arange(len(candidates.ids[0]), dtype=np.int64)[None, :]
    for name, scores in rerank.items():
        row = np.array([[scores[id] for id in candidates.ids[0]]], dtype=np.float32)
        candidates = candidates.with_signal(SIGNALS[name], columns, row)
    return candidates


@given(st.lists(questions(), min_size=1, max_size=5), KNOBS)
def test_replaying_a_pool_of_many_questions_gives_the_live_results(
    asked: list[tuple[Candidates, dict[str, dict[str, float]]]], knobs: KnobValues
) -> None:
    pool = Candidates.stack([stored(*question) for question in asked])
    replayed = select(pool, knobs)
    kept = pack_context(pool, replayed, knobs.context_tokens)
    for row, question in enumerate(asked):
        candidates, ranking = live(*question, knobs)
        assert ids_of(pool, replayed, row) == ids_of(candidates, ranking)
        assert scores_of(replayed, row) == scores_of(ranking)
        fits = pack_context(candidates, ranking, knobs.context_tokens)[0]
        assert kept[row][: len(fits)].tolist() == fits[: kept.shape[1]].tolist()


@given(st.lists(questions(), min_size=2, max_size=4), KNOBS)
def test_taking_questions_from_a_pool_equals_asking_them_alone(
    asked: list[tuple[Candidates, dict[str, dict[str, float]]]], knobs: KnobValues
) -> None:
    pool = Candidates.stack([stored(*question) for question in asked])
    order = list(range(len(asked)))[::-1]
    taken = select(pool.take(order), knobs)
    whole = select(pool, knobs)
    for row, source in enumerate(order):
        assert ids_of(pool.take(order), taken, row) == ids_of(pool, whole, source)


def test_what_several_queries_found_is_joined_by_the_best_score() -> None:
    first = one({"a": 0.9, "b": 0.5}, {"b": 20.0, "c": 10.0}, maxsim={"a": 0.1, "b": 0.2, "c": 0.3})
    second = one({"b": 0.7, "d": 0.6}, {"c": 3.0, "d": 1.5}, maxsim={"b": 0.9})
    joined = Candidates.merged([first, second])
    assert joined.ids == (("a", "b", "d", "c"),)  # by cosine, then what BM25 alone found
    assert joined.signals["dense"][0] == pytest.approx([0.9, 0.7, 0.6, NAN], nan_ok=True)
    # Each query's BM25 is divided by its best: c is half of the first's, but best of the second's.
    assert joined.signals["bm25"][0] == pytest.approx([NAN, 1.0, 0.5, 1.0], nan_ok=True)
    assert joined.signals["maxsim"][0] == pytest.approx([0.1, 0.9, NAN, 0.3], nan_ok=True)
    assert Candidates.merged([first]) is first


@given(questions(), KNOBS)
def test_what_comes_out_is_ordered_distinct_and_at_most_k(
    question: tuple[Candidates, dict[str, dict[str, float]]], knobs: KnobValues
) -> None:
    candidates, ranking = live(*question, knobs)
    ids, scores = ids_of(candidates, ranking), scores_of(ranking)
    assert len(ids) == len(set(ids)) == len(scores) <= knobs.k
    if not knobs.diversity:
        assert scores == sorted(scores, reverse=True)
    assert scores[:1] == [max(scores)] if scores else True


def vectored(diversity: float) -> tuple[Candidates, KnobValues]:
    """Two that say the same, and a third, worse one that does not."""
    near = {"a": [1.0, 0.0], "b": [1.0, 0.05], "c": [0.0, 1.0]}
    candidates = one({"a": 0.9, "b": 0.8, "c": 0.5}, {}).with_vectors(
        {id: np.array(vector, dtype=np.float32) for id, vector in near.items()}
    )
    knobs = KnobValues(weight_dense=1, weight_bm25=0, k=2, diversity=diversity)
    return candidates, knobs


def test_diversity_passes_over_what_says_the_same() -> None:
    candidates, knobs = vectored(0.5)
    # b gains half of 0.75 and loses half of its cosine with a, about 1; c neither gains nor loses.
    assert ids_of(candidates, select(candidates, knobs)) == ["a", "c"]
    assert scores_of(select(candidates, knobs)) == pytest.approx([0.9, 0.5])
    candidates, knobs = vectored(0.2)
    # Now b gains 0.6 and loses 0.2.
    assert ids_of(candidates, select(candidates, knobs)) == ["a", "b"]


def test_diversity_never_brings_back_what_the_threshold_drops() -> None:
    candidates, knobs = vectored(0.9)
    assert ids_of(candidates, select(candidates, knobs.replaced(score_threshold=0.6))) == ["a", "b"]


def test_without_vectors_diversity_changes_nothing() -> None:
    assert ids_of(SEEN, select(SEEN, KnobValues(diversity=0.9))) == ids_of(
        SEEN, select(SEEN, KnobValues())
    )


def copies(texts: list[int]) -> Candidates:
    """One question whose candidates are found in order, with these texts."""
    ids = [f"{place}" for place in range(len(texts))]
    found = Candidates.union(
        {id: 1 - place / 100 for place, id in enumerate(ids)}, {}, dict.fromkeys(ids, 10)
    )
    return found.with_texts(dict(zip(ids, texts, strict=True)))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(1, 10))
def test_copies_take_no_other_passages_place(texts: list[int], k: int) -> None:
    chosen = select(copies(texts), KnobValues.dense(k=k)).columns[0].tolist()
    first = [place for place, text in enumerate(texts) if text not in texts[:place]]
    assert [column for column in chosen if column >= 0] == first[:k]


def test_questions_without_copies_are_left_as_they_are() -> None:
    stacked = Candidates.stack([copies([1, 1, 2]), copies([0]), copies([3, 4, 5, 0])])
    chosen = select(stacked, KnobValues.dense(k=4)).columns.tolist()
    assert chosen == [[0, 2, -1, -1], [0, -1, -1, -1], [0, 1, 2, 3]]
    assert stacked.with_copies.tolist() == [0]
