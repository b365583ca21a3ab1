"""Retrievers without knobs have stages in their place that find the same and can be tuned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy
import pytest

from ragwright import ChromaRetriever, HybridRetriever, KeywordRetriever, MaxSim, RerankRetriever
from ragwright.programs import Knobs, KnobValues, expose_knobs
from ragwright.programs.anatomy import knobs_of
from ragwright.programs.plain_retrievers import (
    replace_plain_retrievers,
    with_stages_for_retrievers,
)
from ragwright.programs.rag import RAG
from ragwright.programs.stage import RetrievalStage
from tests.outside.first_tutorial import Tutorial

QUESTIONS = ("What is the capital of France?", "Who wrote Python?", "rivers", "Is a tuple mutable?")
RETRIEVERS: dict[str, Callable[[str], Any]] = {
    "dense": ChromaRetriever,
    "keyword": KeywordRetriever,
    "hybrid": HybridRetriever,
    "reranked": lambda path: RerankRetriever(HybridRetriever(path), MaxSim(path)),
}


class Plain(dspy.Module):
    """Holds a retriever of ours by itself, and passes it on."""

    def __init__(self, search: Any) -> None:
        super().__init__()
        self.search = search

    def forward(self, question: str) -> Any:
        return self.search(question)


class Twice(dspy.Module):
    def __init__(self, search: Any) -> None:
        super().__init__()
        self.first, self.inner = search, Plain(search)


class Tells(dspy.Module):
    """Says itself what `dspy.Retrieve` asks."""

    def __init__(self, rm: Any) -> None:
        super().__init__()
        self.rm, self.retrieve = rm, dspy.Retrieve(k=2)

    def forward(self, question: str) -> Any:
        with dspy.context(rm=self.rm):
            return self.retrieve(question)


class Reads(Tutorial):
    def forward(self, question: str) -> Any:
        return self.retrieve(question).passages[: self.retrieve.k]


class Sets(Tutorial):
    def forward(self, question: str) -> Any:
        self.retrieve.k = len(question)
        return self.retrieve(question)


def odd(k: object) -> Any:
    program: Any = Tutorial()
    program.retrieve.k = k
    return program


@pytest.mark.parametrize("name", RETRIEVERS)
def test_what_dspy_retrieve_found_is_found(name: str, index_path: str) -> None:
    with dspy.context(rm=RETRIEVERS[name](index_path)):
        program: Any = Tutorial()
        twin: Any = with_stages_for_retrievers(program)
        then = [program.retrieve(question).passages for question in QUESTIONS]
    assert type(program.retrieve) is dspy.Retrieve
    assert list(knobs_of(twin)) == ["retrieve.knobs"]
    assert [twin.retrieve(question).passages for question in QUESTIONS] == then


@pytest.mark.parametrize("name", ["dense", "keyword"])
def test_what_a_retriever_found_is_found(name: str, index_path: str) -> None:
    program = Plain(RETRIEVERS[name](index_path))
    program.search.k = 4
    then = [program(question=question).ids for question in QUESTIONS]
    expose_knobs(program)
    assert isinstance(program.search, HybridRetriever)
    assert [program(question=question).ids for question in QUESTIONS] == then


def test_one_that_stands_twice_becomes_one_stage() -> None:
    program: Any = Twice(ChromaRetriever("index"))
    replace_plain_retrievers(program)
    assert program.first is program.inner.search
    assert isinstance(program.first, RetrievalStage)


def test_the_stage_that_is_asked_stays_as_it_is() -> None:
    asked = HybridRetriever("index", knobs=Knobs(KnobValues(weight_bm25=0.25)))
    program: Any = Tutorial(num_passages=9)
    replace_plain_retrievers(program, rm=asked)
    values = program.retrieve.knobs.values
    assert (values.k, values.weight_bm25, asked.knobs.values.k) == (9, 0.25, 5)


class Other(ChromaRetriever):
    """Does as it likes."""


@pytest.mark.parametrize(
    ("program", "rm"),
    [
        (Tutorial(), None),
        (Tutorial(), lambda query, k: []),
        (Tutorial(num_passages=60), HybridRetriever("index")),
        (odd(None), HybridRetriever("index")),
        (odd("3"), HybridRetriever("index")),
        (Reads(), HybridRetriever("index")),
        (Sets(), HybridRetriever("index")),
        (Plain(Other("index")), None),
        (Plain([ChromaRetriever("index")]), None),
        (Tells(Other("index")), HybridRetriever("elsewhere")),
        (RAG(ChromaRetriever("index")), None),
    ],
    ids=[
        "nothing",
        "foreign",
        "too many",
        "none",
        "text",
        "reads",
        "sets",
        "subclass",
        "list",
        "tells",
        "ours",
    ],
)
def test_what_cannot_be_told_apart_stays(program: Any, rm: Any) -> None:
    before = dict(vars(program))
    replace_plain_retrievers(program, rm=rm)
    assert vars(program) == before
