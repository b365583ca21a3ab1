"""What any DSPy program is made of: retrieval stages, knobs, predictors, retrievers of others.

Stages are found wherever they are: in sub-modules, lists and tables, and in the tools of an agent,
be the tool a stage, a method, or a function that refers to one. A copy of a program has such
functions refer to the copy.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import dspy
from dspy.predict.parameter import Parameter

from ragwright.programs.dspy_internals import compiled_parts, mark_compiled
from ragwright.programs.knobs import Knobs
from ragwright.programs.stage import RetrievalStage
from ragwright.retrievers.base import Retriever

_UNCOPIED = (TypeError, ValueError, AttributeError, LookupError, RuntimeError, OSError, copy.Error)
"""What copying raises for what cannot be copied: locks, connections, generators."""


def knobs_of(program: dspy.Module) -> dict[str, Knobs]:
    """Return every `Knobs` that a program holds, by its place; one that is shared stands once."""
    return {name: part for name, part in _walked(program) if isinstance(part, Knobs)}


def stages_of(program: dspy.Module) -> dict[str, list[RetrievalStage]]:
    """Return the stages that can be asked, by the place of their knobs, outermost first."""
    places = {id(leaf): place for place, leaf in knobs_of(program).items()}
    found: dict[str, list[RetrievalStage]] = {}
    for _, part in _walked(program):
        if isinstance(part, RetrievalStage):
            found.setdefault(places[id(part.knobs)], []).append(part)
    return found


def predictors_of(program: dspy.Module) -> list[dspy.Predict]:
    """Return every predictor, those in modules that are marked as compiled included."""
    return [part for _, part in _walked(program) if isinstance(part, dspy.Predict)]


def foreign_retrievers(program: dspy.Module) -> list[dspy.Retrieve]:
    """Return every `dspy.Retrieve` that is not part of a stage."""
    inner = {
        id(part)
        for stages in stages_of(program).values()
        for stage in stages
        for _, part in _walked(stage)
        if isinstance(part, Retriever)
    }
    walked = (part for _, part in _walked(program) if isinstance(part, dspy.Retrieve))
    return [part for part in walked if id(part) not in inner]


def searchers_of(program: dspy.Module) -> dict[str, RetrievalStage | Retriever]:
    """Return what a program searches with, by its place: stages, and our retrievers by themselves.

    What is part of a stage is left out.
    """
    walked = list(_walked(program))
    inner = {
        id(below)
        for _, part in walked
        if isinstance(part, RetrievalStage)
        for _, below in _walked(part)
        if below is not part
    }
    return {
        place: part
        for place, part in walked
        if isinstance(part, RetrievalStage | Retriever) and id(part) not in inner
    }


def hidden_knobs(program: dspy.Module) -> dict[str, Knobs]:
    """Return the knobs that DSPy does not see: those of tools, functions, lists in tables."""
    with thawed(program):
        seen = {id(part) for part in program.parameters()}
    return {place: leaf for place, leaf in knobs_of(program).items() if id(leaf) not in seen}


@contextmanager
def thawed(program: dspy.Module) -> Iterator[None]:
    """Let no part of a program be marked as compiled inside (`compiled_parts` says why)."""
    frozen = compiled_parts(program)
    for part in frozen:
        mark_compiled(part, False)
    try:
        yield
    finally:
        for part in frozen:
            mark_compiled(part, True)


def name_places(program: dspy.Module) -> None:
    """Tell every `Knobs` its place."""
    for place, leaf in knobs_of(program).items():
        leaf.place = place


def relocate(program: dspy.Module, paths: Mapping[str, str]) -> None:
    """Have every stage, retriever and reranker over an index use it where it lies now.

    Args:
        program: Changed in place.
        paths: Where each index was, and where it is.
    """
    for _, part in _walked(program):
        found = paths.get(getattr(part, "path", None) or "")
        if found is not None:
            part.path = found


def copied(program: dspy.Module) -> dspy.Module:
    """Return a deep copy whose tools refer to it, not to the program that it was copied from."""
    memo: dict[int, Any] = {}
    try:
        twin: dspy.Module = copy.deepcopy(program, memo)
    except _UNCOPIED:  # a lock or a client somewhere in it: DSPy then copies part by part
        twin = program.deepcopy()
        mine, theirs = dict(_walked(program)), dict(_walked(twin))
        memo = {id(part): theirs[place] for place, part in mine.items() if place in theirs}
    for _, part in list(_walked(twin)):
        if isinstance(part, dspy.Tool):
            part.func = _rebound(part.func, memo)
    return twin


def is_async_only(program: dspy.Module) -> bool:
    """Whether a program can be awaited and not called."""
    # Of the class: DSPy warns of every look at an instance's `forward` from outside.
    kind = type(program)
    return not hasattr(kind, "forward") and hasattr(kind, "aforward")


def callable_of(program: dspy.Module) -> dspy.Module:
    """Return a program that can be called: itself, or one that awaits it where it must be."""
    made: dspy.Module = dspy.syncify(program) if is_async_only(program) else program
    return made


def _walked(root: object) -> Iterator[tuple[str, Any]]:
    """Yield every module, parameter and tool below an object once, with its path, depth first."""
    yield from _below("", root, {id(root)})


def _below(path: str, part: object, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(part, dspy.Module | Parameter | dspy.Tool):
        yield path or "self", part
    for step, held in _held(part):
        if id(held) not in seen:
            seen.add(id(held))
            yield from _below(f"{path}{step}".removeprefix("."), held, seen)


def _held(part: object) -> Iterator[tuple[str, Any]]:
    """Yield what a program can reach from one of its parts, with the step that leads there."""
    if isinstance(part, Knobs | dspy.Retrieve):
        return
    if isinstance(part, dspy.Module):
        yield from ((f".{name}", value) for name, value in vars(part).items())
    elif isinstance(part, list | tuple):
        yield from ((f"[{place}]", value) for place, value in enumerate(part))
    elif isinstance(part, dict):
        yield from ((f"[{key!r}]", value) for key, value in part.items())
    else:
        yield from _called(part)


def _called(part: object) -> Iterator[tuple[str, Any]]:
    """Yield what a tool or a function can reach."""
    match part:
        case dspy.Tool():
            yield ".func", part.func
        case MethodType():
            yield "", part.__self__
            yield from _kept(part.__self__)
        case partial():
            yield ".func", part.func
            yield from ((f".args[{place}]", value) for place, value in enumerate(part.args))
        case FunctionType():
            yield from _referred(part)


def _kept(owner: object) -> Iterator[tuple[str, Any]]:
    """Yield the modules that a method's plain object keeps."""
    if not isinstance(owner, dspy.Module | Parameter | dspy.Tool | type):
        for name, value in getattr(owner, "__dict__", {}).items():
            if isinstance(value, dspy.Module | dspy.Retrieve):
                yield f".{name}", value


def _referred(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function refers to: in its closure, and by name among its module's globals."""
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        try:
            yield f".{name}", cell.cell_contents
        except ValueError:  # Not yet bound
            continue
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, dspy.Module | dspy.Retrieve):
            yield f".{name}", value


def _rebound(function: Any, memo: dict[int, Any]) -> Any:
    if not isinstance(function, FunctionType) or not function.__closure__:
        return function
    cells = []
    for cell in function.__closure__:
        try:
            held = cell.cell_contents
        except ValueError:
            cells.append(cell)
            continue
        inner = _rebound(held, memo) if isinstance(held, FunctionType) else None
        cells.append(CellType(inner or memo.get(id(held), held)))
    twin = FunctionType(function.__code__, function.__globals__, function.__name__,
                        function.__defaults__, tuple(cells))  # fmt: skip
    twin.__dict__.update(function.__dict__)
    twin.__kwdefaults__, twin.__doc__ = function.__kwdefaults__, function.__doc__
    twin.__annotations__, twin.__qualname__ = function.__annotations__, function.__qualname__
    return twin
