"""The nouns: ids that depend on what they must, passages that are strings and survive copying."""

from __future__ import annotations

import copy
import pickle

import dspy
from hypothesis import given
from hypothesis import strategies as st

from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.types import Chunk, Document, Passage, content_hash

PASSAGE = Passage("text", id="a", score=0.5, metadata={"document": "d"}, signals={"dense": 0.5})


@given(st.lists(st.text()), st.lists(st.text()))
def test_equal_hashes_mean_equal_parts(one: list[str], other: list[str]) -> None:
    assert (content_hash(*one) == content_hash(*other)) == (one == other)


def test_a_chunk_id_depends_on_place_text_and_metadata() -> None:
    chunk = Chunk("d", 0, 4, "text", {"a": 1})
    others = [
        Chunk("e", 0, 4, "text", {"a": 1}),
        Chunk("d", 1, 4, "text", {"a": 1}),
        Chunk("d", 0, 5, "text", {"a": 1}),
        Chunk("d", 0, 4, "TEXT", {"a": 1}),
        Chunk("d", 0, 4, "text", {"a": "1"}),
    ]
    assert Chunk("d", 0, 4, "text", {"a": 1}).id == chunk.id
    assert len({chunk.id, *(other.id for other in others)}) == 6


def test_a_document_fingerprint_ignores_the_order_of_metadata() -> None:
    one = Document("d", "text", "title", {"a": 1, "b": 2})
    other = Document("d", "text", "title", {"b": 2, "a": 1})
    assert one.fingerprint == other.fingerprint
    assert Document("d", "text", "other").fingerprint != Document("d", "text").fingerprint


def test_the_place_wins_over_metadata_of_the_same_name() -> None:
    chunk = Chunk("d", 3, 5, "xt", {"start": "soon", "year": 2020})
    assert chunk.facts == {"start": 3, "end": 5, "document": "d", "year": 2020}


def test_a_passage_is_its_text_and_survives_copying() -> None:
    for twin in (PASSAGE, copy.deepcopy(PASSAGE), pickle.loads(pickle.dumps(PASSAGE))):
        assert (twin, twin.id, twin.score, twin.document) == ("text", "a", 0.5, "d")
        assert dict(twin.signals) == {"dense": 0.5}
        assert twin.long_text is twin


def test_scoring_a_passage_adds_signals_and_leaves_the_first_alone() -> None:
    scored = PASSAGE.scored(0.9, bm25=7.0)
    assert (scored.score, dict(scored.signals)) == (0.9, {"dense": 0.5, "bm25": 7.0})
    assert (PASSAGE.score, dict(PASSAGE.signals)) == (0.5, {"dense": 0.5})


def test_a_result_is_a_prediction_of_parallel_lists() -> None:
    result = RetrievalResult.of([PASSAGE, PASSAGE.scored(0.1)], degraded=["x"])
    assert isinstance(result, dspy.Prediction)
    assert (result.ids, result.scores) == (["a", "a"], [0.5, 0.1])
    assert result.metadata == [{"document": "d"}, {"document": "d"}]
    assert [*result] == result.passages
    assert (len(result), result.degraded) == (2, ["x"])
    assert len(RetrievalResult.of([])) == 0
