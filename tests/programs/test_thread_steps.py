"""How often retrieval over an embedded index goes to another thread: never called, once awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ragwright.programs.fallback import FallbackGuard
from ragwright.programs.hybrid import DenseRetriever, HybridRetriever
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.limits import FallbackSettings
from ragwright.programs.rerank import MaxSim, RerankRetriever
from ragwright.retrievers.dense import ChromaRetriever
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.sparse import KeywordRetriever

DIVERSE = KnobValues(weight_maxsim=0.0, diversity=0.3)
STAGES: dict[str, Callable[[str], Any]] = {
    "vectors": ChromaRetriever,
    "keywords": KeywordRetriever,
    "dense": DenseRetriever,
    "hybrid": HybridRetriever,
    "diverse": lambda path: HybridRetriever(path, knobs=Knobs(DIVERSE)),
    "reranked": lambda path: RerankRetriever(HybridRetriever(path), MaxSim(path)),
}


@pytest.mark.parametrize("name", STAGES)
def test_a_search_stays_in_its_thread_and_one_that_is_awaited_takes_one_step(
    name: str, index_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Any] = []
    submit = ThreadPoolExecutor.submit

    def counted(pool: Any, *given: Any, **named: Any) -> Any:
        steps.append(given[0])
        return submit(pool, *given, **named)

    stage = STAGES[name](index_path)
    asked = "What is the capital of France?"
    expected = stage(asked).ids  # opens the index
    monkeypatch.setattr(ThreadPoolExecutor, "submit", counted)
    assert stage(asked).ids == expected
    assert len(steps) == 0
    assert asyncio.run(stage.acall(asked)).ids == expected
    assert len(steps) == 1


@pytest.fixture
def large(index_path: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("ragwright.retrievers.index.LARGE", 1)
    return index_path


def test_a_large_index_is_asked_for_vectors_and_words_at_the_same_time(
    large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = threading.Barrier(2, timeout=20)

    def meets(hits: Callable[..., Any]) -> Callable[..., Any]:
        def met(*given: Any, **named: Any) -> Any:
            meeting.wait()
            return hits(*given, **named)

        return met

    asked, stage = "What is the capital of France?", HybridRetriever(large)
    expected = stage(asked)
    for retriever in (ChromaRetriever, KeywordRetriever):
        monkeypatch.setattr(retriever, "hits", meets(retriever.hits))
    found = stage(asked)
    assert found.ids == expected.ids
    assert [one.signals for one in found.passages] == [one.signals for one in expected.passages]


def test_a_search_does_not_wait_for_the_threads_that_others_hold(
    large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, pool = threading.Event(), ThreadPoolExecutor(1)
    monkeypatch.setattr("ragwright.programs.hybrid._threads", lambda: pool)
    stage = HybridRetriever(large)
    expected = stage("capital").ids
    pool.submit(held.wait, 60)
    try:
        assert stage("capital").ids == expected
    finally:
        held.set()
        pool.shutdown()


def test_what_fails_beside_another_search_fails_as_it_does_alone(
    large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = HybridRetriever(large)
    with pytest.raises(InputError, match="filter"):
        stage("capital", where={"$or": "x"})

    def fails(*_: Any) -> Any:
        raise ConnectionError("gone")

    stage.guard = FallbackGuard(FallbackSettings())
    monkeypatch.setattr(KeywordRetriever, "hits", fails)
    (degraded,) = stage("capital").degraded
    assert (degraded.stage, degraded.used) == ("keyword", "the vector store alone")
