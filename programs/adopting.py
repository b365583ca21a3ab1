"""Gives a program retrieval stages of its own for those that its class or a module holds.

Tutorials have `search = HybridRetriever(INDEX)` beside the class and call it in `forward`. All
copies of such a program would share its knobs. What is adopted is a copy, kept as an attribute of
the program; `RetrievalStage` hands on to it what the program asks of the stage that it was made of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dis import get_instructions
from itertools import chain, count
from types import FunctionType, ModuleType
from typing import Any

import dspy

from ragwright.programs.anatomy import copy_program, expose_hidden_knobs
from ragwright.programs.copying import is_users_module
from ragwright.programs.methods import codes_of, methods_of, users_classes
from ragwright.programs.plain_retrievers import replace_plain_retrievers
from ragwright.programs.stage import RetrievalStage
from ragwright.programs.walking import walk_parts


@dataclass(frozen=True)
class _SharedStage:
    """A stage that all copies of a program share.

    Attributes:
        module, name: Where it stands: in a module, or, without one, on a class of the program.
        stage: The stage.
    """

    module: str
    name: str
    stage: RetrievalStage


def adopt_shared_stages(program: dspy.Module) -> None:
    """Give a program, in place, copies of the stages that it finds on its classes or as globals."""
    for name, shared in _not_adopted(program).items():
        twin: Any = copy_program(shared.stage)
        if shared.module:
            twin.stands_for = (shared.module, shared.name)
        setattr(program, name, twin)


def with_stages_of_its_own(program: dspy.Module) -> dspy.Module:
    """Return a program that shares no stage by its class or as a global: itself, or a copy."""
    if not _not_adopted(program):
        return program
    twin = copy_program(program)
    adopt_shared_stages(twin)
    return twin


def expose_knobs(program: dspy.Module) -> None:
    """Have DSPy see all knobs of a program, so that its own `save` and `load` know them.

    DSPy sees what attributes hold, and lists and tables in them; not what a tool, a function or a
    list in a table holds, nor globals. Retrievers without knobs become stages. To be called at the
    end of the program's `__init__`, so that a program that is to be loaded has them too.
    """
    adopt_shared_stages(program)
    replace_plain_retrievers(program, rm=dspy.settings.rm)
    expose_hidden_knobs(program)


def _not_adopted(program: dspy.Module) -> dict[str, _SharedStage]:
    """The stages that a program shares, by the attributes that it is to keep them as."""
    attributes = vars(program)
    stages = [part for _, part in walk_parts(program) if isinstance(part, RetrievalStage)]
    known = {stage.stands_for for stage in stages} | {id(stage) for stage in stages}
    found: dict[str, _SharedStage] = {}
    for shared in _shared_stages(program):
        place = (shared.module, shared.name)
        if known & {place, id(shared.stage)} or (not shared.module and shared.name in attributes):
            continue
        known |= {place, id(shared.stage)}
        numbered = (f"{shared.name}_{number}" for number in count(2))
        names = chain([shared.name], numbered)
        found[next(one for one in names if one not in {*attributes, *found})] = shared
    return found


def _shared_stages(program: dspy.Module) -> Iterator[_SharedStage]:
    """Yield the stages that classes of a program hold, or their methods find as globals.

    Helper functions of a user's are looked into too, as are modules that a method names.
    """
    for kind in users_classes(program):
        for name, value in vars(kind).items():
            if isinstance(value, RetrievalStage):
                yield _SharedStage("", name, value)
    seen: set[int] = set()
    for method in methods_of(program):
        yield from _found_by(method, seen)


def _found_by(function: FunctionType, seen: set[int]) -> Iterator[_SharedStage]:
    if id(function) in seen:
        return
    seen.add(id(function))
    for module, name, value in _globals_of(function):
        if isinstance(value, RetrievalStage):
            yield _SharedStage(module, name, value)
        elif isinstance(value, FunctionType) and is_users_module(value.__module__):
            yield from _found_by(value, seen)


def _globals_of(function: FunctionType) -> Iterator[tuple[str, str, Any]]:
    """Yield what a function finds in its module, and in a user's modules that it names."""
    around = function.__globals__
    for code in codes_of(function):
        used = {one.argval for one in get_instructions(code) if one.opname == "LOAD_GLOBAL"}
        for name in sorted(used & around.keys()):
            yield function.__module__, name, around[name]
            if isinstance(around[name], ModuleType) and is_users_module(around[name].__name__):
                held = vars(around[name])
                yield from ((around[name].__name__, one, held[one])
                            for one in code.co_names if one in held)  # fmt: skip
