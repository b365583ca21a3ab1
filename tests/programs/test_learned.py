"""Learned sources: awaited, replayed and restored they find the same, through any ingest."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragwright.optimize.retrieval.pool import CandidatePool
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.knobs import LEARNED, Knobs, KnobValues
from ragwright.programs.learned import (
    PARTS,
    ChunkPlace,
    KnownQuestions,
    LabelledQuestion,
    QueryAdapter,
    StoredPart,
)
from ragwright.programs.replaying import replay_from_pool
from ragwright.programs.rerank import MaxSim, RerankRetriever
from ragwright.programs.sections import CompileSection
from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import IndexSettings, close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

from .conftest import FACTS

ASKED = {"Which town is the loveliest of all?": "paris", "Who may mend my crab?": "rust",
         "What wakes me up?": "coffee", "Where do the gulls cry at night?": "oslo"}  # fmt: skip
QUERIES = [*ASKED, "Which is the loveliest town?", "a crab to mend", "the capital of Italy", ""]


def known(path: str) -> list[LabelledQuestion]:
    index = open_index(path)
    return [
        LabelledQuestion(
            question, {one.id: ChunkPlace(name, one.start, one.end) for one in index.document(name)}
        )
        for question, name in ASKED.items()
    ]


@pytest.fixture(scope="module")
def sources(index_path: str) -> tuple[KnownQuestions, QueryAdapter]:
    learned = known(index_path)
    return KnownQuestions.learned(index_path, learned), QueryAdapter.learned(index_path, learned)


def test_one_list_of_names_serves_recipe_knobs_and_artifacts() -> None:
    assert tuple(PARTS) == LEARNED
    wanted = CompileSection.model_fields["learn"].annotation
    assert set(get_args(get_args(wanted)[0])) == set(LEARNED)


def test_a_question_like_a_known_one_finds_its_document(index_path: str, sources: Any) -> None:
    questions, adapter = sources
    for query, name in (("Which is the loveliest town?", "paris"), ("may a crab mend me", "rust")):
        for part in (questions, adapter):
            (best, *_) = part.hits(index_path, query, 5)
            assert open_index(index_path).passages([best])[0].document == name
    assert questions.hits(index_path, "the capital of Italy", 5) == {}


@pytest.mark.parametrize("part", [0, 1])
def test_filters_hold(index_path: str, sources: Any, part: int) -> None:
    found = sources[part].hits(index_path, "Which town is the loveliest of all?", 9, {"topic": "r"})
    names = {one.document for one in open_index(index_path).passages(list(found))}
    assert names <= {"rome", "rust"}


@settings(
    max_examples=30, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    query=st.sampled_from(QUERIES),
    shares=st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.0, 0.5, 1.0])),
    least=st.sampled_from([0.4, 0.7]),
    late=st.booleans(),
    fusion=st.sampled_from(["convex", "rrf"]),
    k=st.integers(1, 6),
)
def test_replayed_and_awaited_they_find_what_a_call_finds(
    index_path: str, sources: Any, query: str, shares: tuple[float, float], least: float,
    late: bool, fusion: Any, k: int,
) -> None:  # fmt: skip
    start = KnobValues(fusion=fusion, k=k, weight_maxsim=0.5 if late else 0.0)
    values = QueryAdapter.laid(start, {"share": shares[1]})
    values = KnownQuestions.laid(values, {"share": shares[0], "threshold": least})
    leaf = Knobs(values)
    stage: Any = HybridRetriever(index_path, knobs=leaf)
    stage = RerankRetriever(stage, MaxSim(index_path)) if late else stage
    leaf.learn(*sources)
    alone = _shown(stage(query))
    with replay_from_pool(CandidatePool()):
        assert _shown(stage(query)) == alone
    assert _shown(asyncio.run(stage.acall(query))) == alone


def test_without_a_weight_they_change_nothing(index_path: str, sources: Any) -> None:
    plain, taught = HybridRetriever(index_path), HybridRetriever(index_path)
    taught.knobs.learn(*sources)
    for query in QUERIES:
        assert _shown(plain(query)) == _shown(taught(query))


def test_they_are_dumped_and_restored(index_path: str, sources: Any) -> None:
    for part in sources:
        again = type(part).restored(part.dump())
        assert again.fingerprint == part.fingerprint
        assert again.hits(index_path, QUERIES[0], 5) == part.hits(index_path, QUERIES[0], 5)


def test_what_no_source_can_have_written_is_refused(sources: Any) -> None:
    questions, adapter = (part.dump() for part in sources)
    wrong: list[tuple[type[Any], StoredPart]] = [
        (KnownQuestions, replace(questions, arrays={})),
        (KnownQuestions, replace(questions, arrays={"vectors": np.zeros((2, 3), np.float16)})),
        (KnownQuestions, replace(questions, facts={**questions.facts, "holds": [[99]] * 4})),
        (KnownQuestions, replace(questions, facts={**questions.facts, "questions": [1] * 4})),
        (KnownQuestions, replace(questions, facts={**questions.facts, "chunks": [["a", 1]]})),
        (QueryAdapter, replace(adapter, arrays={**adapter.arrays, "up": np.zeros((3, 3))})),
        (QueryAdapter, replace(adapter, arrays={**adapter.arrays, "down": np.zeros(3)})),
        *((QueryAdapter, StoredPart({}, {name: np.full(array.shape, number)
                                   for name, array in adapter.arrays.items()}))
          for number in (np.nan, np.inf, 1e300, -1e30)),
    ]  # fmt: skip
    for kind, held in wrong:
        with pytest.raises(InputError):
            kind.restored(held)


def test_documents_that_were_cut_anew_are_found_where_they_stood(
    sources: Any, tmp_path: Path
) -> None:
    path = str(tmp_path / "index")
    cut = IndexSettings(embedder="hash", chunking=ChunkSettings(size=8, overlap=0))
    ingest([Document(id, text, id.title()) for id, text in FACTS.items()], path, cut)
    try:
        found = sources[0].hits(path, "Who may mend my crab?", 9)
        names = [one.document for one in open_index(path).passages(list(found))]
        assert len(names) > 1
        assert set(names) == {"rust"}
    finally:
        close_index(path)


def test_a_state_that_weighs_what_is_not_there_is_refused(sources: Any) -> None:
    leaf = Knobs()
    leaf.learn(sources[0])
    leaf.values = KnownQuestions.laid(leaf.values, {"share": 0.5, "threshold": 0.6})
    state = leaf.dump_state()
    Knobs().load_state({**state, "weight_questions": 0.0})
    with pytest.raises(InputError, match="learned as 'questions'"):
        Knobs().load_state(state)


def _shown(result: Any) -> list[tuple[str, float]]:
    return [(one.id, round(one.score, 5)) for one in result.passages]
