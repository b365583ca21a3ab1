"""Every fault gives an answer marked degraded, or a clear error: never a hang or a wrong citation.

The first table is run for a sync call, an async call and a stream.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import dspy
import pytest
from chromadb.errors import InternalError
from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    LMProviderError,
    LMTransportError,
)

from ragwright.programs import fallback
from ragwright.programs.anatomy import protect
from ragwright.programs.build import build_program
from ragwright.programs.fallback import Breaker, FallbackGuard, degradations
from ragwright.programs.limits import FallbackSettings
from ragwright.programs.rag import RAG
from ragwright.programs.recipe import Recipe
from ragwright.programs.rerank import MaxSim
from ragwright.programs.streaming import Done, Failed, Restarted, Token, stream
from ragwright.retrievers.dense import ChromaRetriever
from ragwright.retrievers.errors import InputError, StageError
from ragwright.retrievers.sparse import KeywordRetriever
from tests.programs.conftest import SCRIPT, client
from tests.servers.scripted_lm import ScriptedLM

pytestmark = pytest.mark.slow

QUESTION = "What is the capital of France?"
SHORT = 1.0
"""Seconds that a stage which hangs is given; one that works takes a few hundredths."""


@pytest.fixture(autouse=True)
def closed_circuits() -> Iterator[None]:
    """Backends of other tests are forgotten."""
    fallback._breaker.cache_clear()
    yield
    fallback._breaker.cache_clear()


@pytest.fixture
def first() -> Iterator[ScriptedLM]:
    with ScriptedLM(script=SCRIPT) as running:
        yield running


@pytest.fixture
def second() -> Iterator[ScriptedLM]:
    with ScriptedLM(script=SCRIPT) as running:
        yield running


def stopped(*args: Any, **kwargs: Any) -> Any:
    raise InternalError("the store is stopped")


def slow(*args: Any, **kwargs: Any) -> Any:
    time.sleep(2 * SHORT)
    return {}


def raising(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("the reranker broke")


@dataclass(frozen=True)
class Case:
    """A fault and what must come of it.

    Attributes:
        broken: (class, attribute, replacement) of a part in this process.
        fault: What the first language model does.
        program: The recipe's program section.
        stages: The stages that must be marked as degraded.
        answered: Whether there must be an answer, and not passages alone.
        second: Whether there is a second language model.
        limited: The time limit that must end the stage; all others are never reached.
    """

    broken: tuple[type, str, Callable[..., Any]] | None = None
    fault: Any = None
    program: tuple[tuple[str, Any], ...] = (("kind", "rerank"),)
    stages: tuple[str, ...] = ()
    answered: bool = True
    second: bool = True
    limited: str = ""


HYDE = (("kind", "hybrid"), ("expansion", "hyde"))
HOPS = (("kind", "multihop"), ("reranker", "none"))
CASES = {
    "nothing": Case(),
    "store stopped": Case((ChromaRetriever, "hits", stopped), stages=("dense",)),
    "store slow": Case(
        (ChromaRetriever, "hits", slow), stages=("dense",), limited="retrieve_seconds"
    ),
    "keyword index broken": Case((KeywordRetriever, "hits", stopped), stages=("keyword",)),
    "reranker raises": Case((MaxSim, "forward", raising), stages=("rerank",)),
    "reranker slow": Case(
        (MaxSim, "forward", slow), stages=("rerank",), limited="rerank_seconds"
    ),
    **{
        f"lm {fault}": Case(fault=fault, stages=("respond",))
        for fault in ("429", "500", "garbage", "empty", "half", "drop")
    },
    **{
        f"lm {fault}": Case(fault=fault, stages=("respond",), limited="respond_seconds")
        for fault in ("hang", "slow")
    },
    "both lms down": Case(fault="500", stages=("respond",), answered=False, second=False),
    "expansion down": Case(fault="500", program=HYDE, stages=("rewrite", "respond")),
    "hop down": Case(fault="garbage", program=HOPS, stages=("rewrite", "respond")),
    "listwise down": Case(
        fault="500", program=(("kind", "rerank"), ("reranker", "listwise")),
        stages=("rerank", "respond"),
    ),
}  # fmt: skip


def call(program: RAG) -> Any:
    return program(question=QUESTION)


def acall(program: RAG) -> Any:
    return asyncio.run(program.acall(question=QUESTION))


def streaming(program: RAG) -> Any:
    async def collect() -> list[Any]:
        return [event async for event in stream(program, QUESTION)]

    events = asyncio.run(collect())
    assert isinstance(events[-1], Done), events[-1]
    last = max((n for n, e in enumerate(events) if isinstance(e, Restarted)), default=-1)
    said = "".join(event.text for event in events[last + 1 :] if isinstance(event, Token))
    assert said == events[-1].prediction.answer
    return events[-1].prediction


@pytest.mark.parametrize("way", [call, acall, streaming])
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_fault_is_answered_and_marked(
    case: Case, way: Callable[[RAG], Any], index_path: str, first: ScriptedLM, second: ScriptedLM,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    program = built(dict(case.program), index_path, first)
    limits = dict.fromkeys(("retrieve", "rerank", "rewrite", "respond"), 60.0)
    seconds = {f"{stage}_seconds": limit for stage, limit in limits.items()}
    settings = FallbackSettings(**(seconds | ({case.limited: SHORT} if case.limited else {})))
    first.slow_seconds = 2 * SHORT
    for predictor in program.predictors():
        predictor.lm = client(first)
    protect(program, settings, second_lm=client(second) if case.second else None)
    program.retriever("warm up what is loaded once")
    first.calls.clear()
    if case.broken is not None:
        monkeypatch.setattr(*case.broken)
    if case.fault is not None:
        first.fail(case.fault)
    before = sum(degradations().values())
    said = way(program)
    assert tuple(dict.fromkeys(noted.stage for noted in said.degraded)) == case.stages
    assert sum(degradations().values()) - before == len(said.degraded) >= len(case.stages)
    assert bool(said.answer) == case.answered
    if case.answered:
        assert said.answer == "Paris is the capital of France."
        assert [said.passages[n - 1].document for n in said.citations] == ["paris"]
    else:
        assert said.citations == []
    assert "paris" in {passage.document for passage in said.passages}


def built(section: dict[str, Any], index_path: str, server: ScriptedLM) -> RAG:
    recipe = Recipe.checked(
        {
            "index": {"path": index_path, "embedder": "hash"},
            "program": section,
            "knobs": {"weight_maxsim": 0.5, "weight_lm": 0.5},
        }
    )
    return build_program(recipe, lm=client(server))


@pytest.mark.parametrize("way", [call, acall])
def test_both_sources_down_is_a_clear_error(
    way: Callable[[RAG], Any], index_path: str, first: ScriptedLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = built({"kind": "hybrid"}, index_path, first)
    protect(program, FallbackSettings())
    monkeypatch.setattr(ChromaRetriever, "hits", stopped)
    monkeypatch.setattr(KeywordRetriever, "hits", stopped)
    with pytest.raises(StageError, match="the store is stopped"):
        way(program)
    assert first.calls == []


def test_a_stream_that_cannot_go_on_ends_with_what_failed(
    index_path: str, first: ScriptedLM
) -> None:
    program = built({"kind": "hybrid"}, index_path, first)
    first.fail("half")

    async def collect() -> list[Any]:
        return [event async for event in stream(program, QUESTION)]

    events = asyncio.run(collect())
    assert isinstance(events[-1], Failed)
    assert "LMStreamAssemblyError" in events[-1].message
    assert not any(isinstance(event, Done) for event in events)


def test_without_protection_nothing_is_caught(
    index_path: str, first: ScriptedLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = built({"kind": "rerank"}, index_path, first)
    monkeypatch.setattr(MaxSim, "forward", raising)
    with pytest.raises(RuntimeError, match="the reranker broke"):
        program(question=QUESTION)


def test_wrong_input_is_never_taken_for_a_fault(index_path: str, first: ScriptedLM) -> None:
    program = built({"kind": "hybrid"}, index_path, first)
    protect(program, FallbackSettings(retrieve_seconds=5))
    with pytest.raises(InputError):
        program(question=QUESTION, where={"topic": {"$near": 1}})
    assert first.calls == []


WRONG_FILTERS: list[Any] = [
    {"#document": "x"},
    {"#document": {"$ne": "x"}},
    {"$eq": "x"},
    {"topic": {"$eq": float("nan")}},
    {"topic": {"$gt": float("inf")}},
    {"topic": 2**63},
    {"\ud800": "x"},
    {"topic": None},
    {"topic": [1]},
    {"topic": {"$in": [1, "x"]}},
    {"topic": {"$gt": "x"}},
    {"topic": {"$near": 1}},
    {"topic": {}},
    {"$and": "x"},
    {"$or": [[]]},
]


@pytest.mark.parametrize("where", WRONG_FILTERS, ids=ascii)
def test_wrong_filters_leave_every_circuit_closed(
    where: Any, index_path: str, first: ScriptedLM
) -> None:
    program = built({"kind": "rerank"}, index_path, first)
    protect(program, FallbackSettings(failures=1, cooldown_seconds=3600))
    for _ in range(3):
        with pytest.raises(InputError):
            program(question=QUESTION, where=where)
    said = program(question=QUESTION)
    assert (said.degraded, said.answer) == ([], "Paris is the capital of France.")


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (AdapterParseError("JSON", dspy.Signature("q -> a"), "not JSON"), False),
        (ContextWindowExceededError(), False),
        (LMProviderError("malformed", status=400), False),
        (LMProviderError("too large", status=413), False),
        (RecursionError("too deep"), False),
        (LMProviderError("overloaded", status=503), True),
        (LMProviderError("no such key", status=401), True),
        (LMTransportError("no route"), True),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (InternalError("the graph is torn"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_circuit_counts_only_what_a_backend_did(error: Exception, blamed: bool) -> None:
    guard = FallbackGuard(FallbackSettings(failures=1, cooldown_seconds=3600))

    def fails() -> None:
        raise error

    with pytest.raises(StageError):
        guard.call("respond", "model", fails)
    if blamed:
        with pytest.raises(StageError, match="left alone"):
            guard.call("respond", "model", lambda: "fine")
    else:
        assert guard.call("respond", "model", lambda: "fine") == "fine"


def test_a_backend_that_hangs_takes_no_thread_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback, "_THREADS", 1)
    guard = FallbackGuard(FallbackSettings(rerank_seconds=0.05, retrieve_seconds=1, failures=9))
    ends, late = threading.Event(), threading.Event()
    for work in (partial(ends.wait, 3), late.set):
        with pytest.raises(StageError, match="longer than"):
            guard.call("rerank", "hangs", work)
    assert guard.call("dense", "is well", lambda: "found") == "found"
    ends.set()
    guard = FallbackGuard(FallbackSettings(rerank_seconds=20, failures=9))
    assert not guard.call("rerank", "hangs", late.is_set)


def test_a_probe_that_tells_nothing_lets_another_one_through() -> None:
    now = [0.0]
    breaker = Breaker(1, 10.0, clock=lambda: now[0])
    breaker.record(worked=False)
    now[0] = 10.0
    assert breaker.admits()
    breaker.release()  # wrong input, or a client that left
    assert breaker.admits()


def test_a_dead_backend_costs_one_probe_per_cooldown(
    index_path: str, first: ScriptedLM, second: ScriptedLM
) -> None:
    program = built({"kind": "hybrid"}, index_path, first)
    settings = FallbackSettings(failures=2, cooldown_seconds=3600)
    protect(program, settings, second_lm=client(second))
    first.fail("500")
    for _ in range(10):
        assert program(question=QUESTION).answer == "Paris is the capital of France."
    assert (len(first.calls), len(second.calls)) == (2, 10)


def test_the_breaker_by_the_clock() -> None:
    now = [0.0]
    breaker = Breaker(2, 10.0, clock=lambda: now[0])
    breaker.record(worked=False)
    assert breaker.admits()
    breaker.record(worked=False)
    assert not breaker.admits()
    now[0] = 10.0
    assert breaker.admits()  # one probe
    assert not breaker.admits()
    breaker.record(worked=True)
    assert breaker.admits()


def test_numbers_that_do_not_exist_are_removed_and_counted(
    index_path: str, first: ScriptedLM
) -> None:
    first.script = {"citations": "[1, 99, 0, 1, -3]"}
    said = built({"kind": "hybrid"}, index_path, first)(question=QUESTION)
    assert (said.citations, said.invented) == ([1], 3)


@pytest.mark.parametrize(
    ("confidence", "below", "abstained"),
    [("0.4", 0.5, True), ("0.5", 0.5, False), ("0.0", 0.0, False), ("0.9", 1.0, True)],
)
def test_it_abstains_below_the_threshold(
    index_path: str, first: ScriptedLM, confidence: str, below: float, abstained: bool
) -> None:
    first.script = {"confidence": confidence}
    program = built({"kind": "hybrid", "abstain": True}, index_path, first)
    program.knobs.values = program.knobs.values.replaced(abstain_below=below)
    said = program(question=QUESTION)
    assert said.abstained == abstained
    assert (said.answer == "I don't know", said.citations == []) == (abstained, abstained)
