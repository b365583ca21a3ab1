"""Stages that DSPy does not see: found in whatever holds them, copied, saved in DSPy's own way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import dspy
import pytest
from pydantic import BaseModel, ConfigDict

from ragwright import HybridRetriever
from ragwright.programs import FallbackSettings, expose_knobs, protect
from ragwright.programs.anatomy import copy_program, hidden_knobs, knobs_of, make_savable, stages_of
from ragwright.programs.fallback import STRICT

Held = Callable[[HybridRetriever], Any]


class Desk:
    """A plain object that keeps a stage."""

    def __init__(self, stage: HybridRetriever) -> None:
        self.stage = stage

    def look(self, query: str) -> Any:
        return self.stage(query)

    def __call__(self, query: str) -> Any:
        return self.stage(query)


@attrs.define
class Slotted:
    stage: Any

    def look(self, query: str) -> Any:
        return self.stage(query)


@dataclass
class Kit:
    stages: dict[str, list[Any]]

    def look(self, query: str) -> Any:
        return self.stages["of"][0](query)


class Checked(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    stage: Any

    def look(self, query: str) -> Any:
        return self.stage(query)


class Locked:
    """Keeps a stage beside what no copy can be made of, in an object of its own."""

    def __init__(self, stage: HybridRetriever) -> None:
        self.inner: dict[str, Any] = {
            "desk": Desk(stage),
            "lock": threading.Lock(),
            "module": threading,  # what is in one is nobody's to copy
        }

    def look(self, query: str) -> Any:
        with self.inner["lock"]:
            return self.inner["desk"].look(query)


class Wrapping(dspy.Retrieve):
    """A user's own retriever that searches by a stage of ours."""

    def __init__(self, stage: HybridRetriever) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, query: str, k: int | None = None, **kwargs: Any) -> Any:
        return self.stage(query, k)


def asked(stage: HybridRetriever, query: str) -> Any:
    return stage(query)


def by_keyword(query: str, *, stage: Any = None) -> Any:
    return stage(query)


def closure(stage: HybridRetriever) -> Any:
    def look(query: str) -> Any:
        return stage(query)

    return look


def awaited(stage: HybridRetriever) -> Any:
    async def look(query: str) -> Any:
        return await stage.acall(query)

    return look


def recursive(stage: HybridRetriever) -> Any:
    def look(query: str, again: int = 1) -> Any:
        return look(query, again - 1) if again else stage(query)

    return look


def in_list(stage: HybridRetriever) -> Any:
    stages = [stage]

    def look(query: str) -> Any:
        return stages[0](query)

    return look


def by_default(held: HybridRetriever) -> Any:
    def look(query: str, stage: Any = held) -> Any:
        return stage(query)

    return look


HOLDERS: dict[str, Held] = {
    "stage": lambda stage: stage,
    "method": lambda stage: stage.__call__,
    "closure": closure,
    "awaited": awaited,
    "recursive": recursive,
    "list": in_list,
    "default": by_default,
    "partial": lambda stage: partial(asked, stage),
    "keyword": lambda stage: partial(by_keyword, stage=stage),
    "partial of a closure": lambda stage: partial(closure(stage)),
    "object": Desk,
    "method of an object": lambda stage: Desk(stage).look,
    "slots": lambda stage: Slotted(stage).look,
    "dataclass": lambda stage: Kit({"of": [stage]}).look,
    "model": lambda stage: Checked(stage=stage).look,
    "lock beside it": lambda stage: Locked(stage).look,
    "retriever": lambda stage: Wrapping(stage).forward,
}


class Agent(dspy.Module):
    def __init__(self, holder: str, *, exposed: bool = False, by_tool: bool = True) -> None:
        super().__init__()
        held = HOLDERS[holder](HybridRetriever("index"))
        if by_tool:
            self.agent = dspy.ReAct("question -> answer", tools=[dspy.Tool(held, name="look")])
        else:
            self.look = held
        if exposed:
            expose_knobs(self)


def k_of(program: dspy.Module) -> int:
    ((stage,),) = stages_of(program).values()
    return stage.knobs.values.k


def set_k(program: dspy.Module, k: int) -> None:
    (leaf,) = knobs_of(program).values()
    leaf.values = leaf.values.replaced(k=k)


@pytest.mark.parametrize("by_tool", [True, False])
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_copy_has_a_stage_of_its_own(holder: str, by_tool: bool) -> None:
    program = Agent(holder, by_tool=by_tool)
    twin = copy_program(program)
    set_k(twin, 9)
    third = copy_program(twin)
    set_k(third, 7)
    assert [k_of(one) for one in (program, twin, third)] == [5, 9, 7]


@pytest.mark.parametrize("holder", HOLDERS)
def test_exposed_knobs_are_saved_and_loaded_by_dspy(holder: str, tmp_path: Path) -> None:
    compiled = copy_program(Agent(holder, exposed=True))
    assert not hidden_knobs(compiled)
    set_k(compiled, 9)
    compiled.save(str(tmp_path / "state.json"))
    fresh = Agent(holder, exposed=True)
    fresh.load(str(tmp_path / "state.json"))
    assert k_of(fresh) == k_of(copy_program(fresh)) == 9
    assert hidden_knobs(Agent(holder)).keys() == knobs_of(fresh).keys()


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_stage_falls_back_wherever_it_is_held(holder: str) -> None:
    program = Agent(holder)
    program.guard = "the user's own"
    protect(program, FallbackSettings(enabled=True))
    ((stage,),) = stages_of(program).values()
    assert stage.guard is not STRICT
    assert program.guard == "the user's own"


def test_functions_that_share_a_variable_share_it_in_the_copy() -> None:
    stage, calls = HybridRetriever("index"), 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return calls

    def look(query: str) -> Any:
        return stage(query), count()

    program = dspy.Module()
    program.look, program.count = look, count
    twin = copy_program(program)
    assert twin.count() == 1
    assert program.count() == 2  # what refers to no part of the program is not copied
    first, second = stages_of(program).values(), stages_of(twin).values()
    assert next(iter(first))[0] is not next(iter(second))[0]


class Keeper(dspy.Module):
    """Its tools refer to the program itself, as in most tutorials, wherever they are kept."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.search = HybridRetriever("index")
        self.note = dspy.Predict("question -> note")

        def look(query: str) -> Any:
            """Look it up."""
            return self.search(query)

        kept = {
            "list": [look],
            "table": {"of": [(look, 1)]},
            "alone": look,
            "partial": partial(look),
        }
        self.agent = dspy.ReAct("question -> answer", tools=[look])
        self.kept = kept.get(place)
        self.asked = partial(asked, self.search)

    def referred(self) -> list[Any]:
        """The programs that its tools refer to."""
        held: Any = self.kept
        while isinstance(held, list | tuple | dict):
            held = next(iter(held.values())) if isinstance(held, dict) else held[0]
        functions = [self.agent.tools["look"].func, getattr(held, "func", held)]
        return [one.__closure__[0].cell_contents for one in functions if one is not None]


@pytest.mark.parametrize("place", ["agent", "list", "table", "alone", "partial"])
def test_tools_that_refer_to_their_program_refer_to_the_copy_in_a_copy(place: str) -> None:
    program = Keeper(place)
    programs = [program, copy_program(program), copy_program(program)]
    programs.append(copy_program(programs[1]))
    for one in programs:
        assert all(found is one for found in one.referred())
        assert one.asked.args == (one.search,)
        assert list(knobs_of(one)) == ["search.knobs"]


def test_a_copy_of_what_dspy_copied_has_one_stage() -> None:
    program = Keeper("agent")
    dspys = program.deepcopy()  # whose tool refers to the first program still
    assert dspys.referred() == [program]
    twin = copy_program(dspys)
    assert program.referred() == [program]
    assert twin.referred()[0] not in {program, dspys}


class Plain(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.found = [dspy.Retrieve(k=3)]
        self.respond = dspy.Predict("context, question -> answer")


def test_a_program_with_a_retriever_of_dspy_is_saved_in_its_way(tmp_path: Path) -> None:
    program = Plain()
    program.found[0].k = 8
    make_savable(program)
    for number, one in enumerate(
        (program, copy_program(program), copy_program(copy_program(program)))
    ):
        one.save(str(tmp_path / f"{number}.json"))
        fresh = Plain()
        fresh.load(str(tmp_path / f"{number}.json"))
        assert fresh.found[0].k == 8
