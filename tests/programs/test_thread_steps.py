"""How often retrieval over an embedded index goes to another thread: never called, once awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ragwright.programs.hybrid import DenseRetriever, HybridRetriever
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.rerank import MaxSim, RerankRetriever
from ragwright.retrievers.dense import ChromaRetriever
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
