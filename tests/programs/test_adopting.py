"""Stages that a program finds on its class or among globals become stages of its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

from ragwright import HybridRetriever
from ragwright.programs import expose_knobs
from ragwright.programs.adopting import adopt_shared_stages, with_stages_of_its_own
from ragwright.programs.anatomy import copy_program, knobs_of
from ragwright.programs.multihop import MultiHopRetriever
from ragwright.programs.stage import RetrievalStage
from tests.shapes import beside

near = HybridRetriever("near")


def helped(question: str) -> Any:
    return near(question)


class Method(dspy.Module):
    def forward(self, question: str) -> Any:
        return near(question)


class Inside(dspy.Module):
    def forward(self, question: str) -> Any:
        found = [near(one) for one in (question,)]
        return found[-1]


class Helped(dspy.Module):
    def forward(self, question: str) -> Any:
        return self.find(question)

    @staticmethod
    def find(question: str) -> Any:
        return helped(question)


class OnClass(dspy.Module):
    near = HybridRetriever("near")

    def forward(self, question: str) -> Any:
        return self.near(question)


class ByModule(dspy.Module):
    def forward(self, question: str) -> Any:
        return beside.search(question)


class Part(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Method()

    def forward(self, question: str) -> Any:
        return self.inner(question=question)


class Awaited(dspy.Module):
    async def aforward(self, question: str) -> Any:
        return await near.acall(question)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RetrievalStage]:
    """The stages that were asked, in order; none searches."""
    said: list[RetrievalStage] = []

    async def awaited(stage: RetrievalStage, *_: Any, **__: Any) -> str:
        said.append(stage)
        return "found"

    def called(stage: RetrievalStage, *_: Any, **__: Any) -> str:
        said.append(stage)
        return "found"

    monkeypatch.setattr(RetrievalStage, "forward", called)
    monkeypatch.setattr(RetrievalStage, "aforward", awaited)
    return said


@pytest.mark.parametrize("kind", [Method, Inside, Helped, OnClass, ByModule, Part])
def test_each_copy_asks_a_stage_of_its_own(kind: Any, asked: list[RetrievalStage]) -> None:
    program = kind()
    first = with_stages_of_its_own(program)
    assert not knobs_of(program)  # it stays as it is
    second, third = copy_program(first), first.deepcopy()
    for one in (first, second, third, program):
        assert one(question="who") == "found"
    (name,) = {place.removesuffix(".knobs") for place in knobs_of(first)}
    assert asked[:3] == [getattr(one, name) for one in (first, second, third)]
    assert len({id(stage.knobs) for stage in asked}) == 4
    assert with_stages_of_its_own(second) is second


def test_it_is_asked_from_awaiting_programs_and_other_threads(asked: list[RetrievalStage]) -> None:
    program: Any = with_stages_of_its_own(Awaited())
    asyncio.run(program.acall(question="who"))
    other: Any = with_stages_of_its_own(Method())
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda question: other(question=question), ["who"]))
    assert asked == [program.near, other.near]


class Wrapped(dspy.Module):
    """Holds what it finds as a global, within a stage of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = MultiHopRetriever(near)

    def forward(self, question: str) -> Any:
        return self.stage(question), near.path


def test_what_a_program_holds_anyway_is_not_adopted() -> None:
    program = Wrapped()
    assert with_stages_of_its_own(program) is program


def test_what_an_attribute_is_called_stays_free() -> None:
    program: Any = Method()
    program.near = "the user's own"
    adopt_shared_stages(program)
    assert (program.near, list(knobs_of(program))) == ("the user's own", ["near_2.knobs"])


def test_dspy_saves_and_loads_the_knobs_of_what_is_exposed() -> None:
    program, fresh = Method(), Method()
    for one in (program, fresh):
        expose_knobs(one)
    knobs_of(program)["near.knobs"].values = near.knobs.values.replaced(k=3)
    fresh.load_state(program.dump_state())
    assert knobs_of(fresh)["near.knobs"].values.k == 3 != near.knobs.values.k


def test_a_program_without_such_a_stage_is_left_alone() -> None:
    program = dspy.ChainOfThought("question -> answer")
    assert with_stages_of_its_own(program) is program
