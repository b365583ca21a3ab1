"""What stages found, kept beside the index: asked once, read back, told apart, and built again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dspy
import numpy as np
import pytest

from ragwright.optimize.retrieval.pool import CandidatePool, stage_identity
from ragwright.programs import HybridRetriever, MaxSim, MultiHopRetriever, RerankRetriever
from ragwright.programs.candidates import Candidates
from ragwright.programs.expand import ExpandedRetriever, Expansion
from ragwright.programs.hybrid import DenseRetriever
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.lm_rerank import ListwiseReranker
from ragwright.programs.stage import RetrievalStage
from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.index import IndexSettings, close_index
from ragwright.retrievers.ingest import ingest

from .conftest import CHUNKING, documents, lines

QUESTIONS = [line["question"] for line in lines()[:4]]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    settings = IndexSettings(embedder="hash", chunking=ChunkSettings.model_validate(CHUNKING))
    ingest(documents()[:8], tmp_path / "index", settings)
    yield str(tmp_path / "index")
    close_index(tmp_path / "index")


def same(first: Candidates, second: Candidates) -> bool:
    return (
        first.ids == second.ids
        and np.array_equal(first.tokens, second.tokens)
        and first.around == second.around
        and {id: tuple(vector) for id, vector in first.vectors.items()}
        == {id: tuple(vector) for id, vector in second.vectors.items()}
        and first.signals.keys() == second.signals.keys()
        and all(
            np.array_equal(table, second.signals[name], equal_nan=True)
            for name, table in first.signals.items()
        )
    )


def stage(index: str) -> RerankRetriever:
    return RerankRetriever(HybridRetriever(index), MaxSim(index))


def test_only_what_was_not_asked_before_is_searched_for(index: str) -> None:
    pool = CandidatePool()
    pool.gathered(stage(index), QUESTIONS[:2])
    pool.save()
    again = CandidatePool()
    found = again.gathered(stage(index), [*QUESTIONS[1:3], QUESTIONS[1]])
    assert (pool.fetched, again.fetched, again.warnings) == (2, 1, [])
    assert found.ids[0] == found.ids[2]


def test_what_comes_from_disk_is_what_was_found(index: str) -> None:
    pool, again = CandidatePool(), CandidatePool()
    wanted = pool.gathered(stage(index), QUESTIONS)
    pool.save()
    assert same(again.gathered(stage(index), QUESTIONS), wanted)
    assert again.fetched == 0
    assert wanted.vectors


def test_a_filter_is_part_of_what_was_asked(index: str) -> None:
    pool = CandidatePool()
    for where in (None, {"document": "town1"}, {"document": "town2"}):
        found = pool.candidates(stage(index), QUESTIONS[0], where)
        assert bool(found.ids[0])
    assert pool.fetched == 3


def stages(index: str) -> list[RetrievalStage]:
    hybrid = HybridRetriever(index)
    return [
        DenseRetriever(index),
        hybrid,
        stage(index),
        MultiHopRetriever(hybrid),
        MultiHopRetriever(hybrid, hops=3),
        MultiHopRetriever(hybrid, knobs=Knobs(KnobValues(k=2))),
        ExpandedRetriever(hybrid, Expansion("hyde")),
        ExpandedRetriever(hybrid, Expansion("decompose")),
    ]  # fmt: skip


def test_stages_are_told_apart_by_what_decides_their_candidates(index: str) -> None:
    with dspy.context(lm=dspy.LM("openai/none")):
        named = {stage_identity(one, lambda path: path) for one in stages(index)}
        assert len(named) == len(stages(index))
        assert named == {stage_identity(one, lambda path: path) for one in stages(index)}
        assert not named & {stage_identity(one, lambda path: "x") for one in stages(index)}
        written = ExpandedRetriever(HybridRetriever(index), Expansion("hyde"))
        signature = written.expansion.expand.signature
        written.expansion.expand.signature = signature.with_instructions("Another.")
        assert stage_identity(written, lambda path: path) not in named


def test_what_only_ranks_is_no_reason_to_search_again(index: str) -> None:
    tuned = RerankRetriever(HybridRetriever(index), MaxSim(index), knobs=Knobs(KnobValues(k=2)))
    assert stage_identity(tuned, str) == stage_identity(stage(index), str)
    judged = RerankRetriever(HybridRetriever(index), ListwiseReranker(index))
    other = RerankRetriever(HybridRetriever(index), ListwiseReranker(index))
    signature = other.reranker.order.signature
    other.reranker.order.signature = signature.with_instructions("Another.")
    assert stage_identity(judged, str) == stage_identity(other, str)


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_damaged_file_is_built_again_and_said(index: str, keep: int) -> None:
    pool = CandidatePool()
    pool.gathered(stage(index), QUESTIONS[:2])
    pool.save()
    (file,) = (Path(index) / "pools").iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    again, last = CandidatePool(), CandidatePool()
    again.gathered(stage(index), QUESTIONS[:2])
    again.save()
    assert again.fetched == 2
    assert "was damaged" in again.warnings[0]
    last.gathered(stage(index), QUESTIONS[:1])
    assert (last.fetched, last.warnings) == (0, [])


def test_a_pool_with_pickled_objects_is_not_read(index: str) -> None:
    pool = CandidatePool()
    pool.gathered(stage(index), QUESTIONS[:1])
    pool.save()
    (file,) = (Path(index) / "pools").iterdir()
    evil = np.array([{"a": 1}], dtype=object)
    np.savez(file, names=evil, tokens=evil)
    again = CandidatePool()
    again.gathered(stage(index), QUESTIONS[:1])
    assert again.fetched == 1
