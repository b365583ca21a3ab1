"""Finds what any DSPy program is made of: retrieval stages, knobs, predictors, retrievers.

Stages are found wherever they are: in sub-modules, lists, tables and plain objects, and in the
tools of an agent, be the tool a stage, a method, or a function that refers to one. A copy of a
program has such functions refer to the copy.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import dspy
from dspy.predict.parameter import Parameter
from pydantic import BaseModel

from ragwright.programs.dspy_internals import compiled_parts, mark_compiled
from ragwright.programs.fallback import FallbackGuard
from ragwright.programs.knobs import Knobs
from ragwright.programs.late_parts import make_late_parts
from ragwright.programs.limits import FallbackSettings
from ragwright.programs.rebinding import (
    CachedFunction,
    Rebinding,
    attributes_of,
    deep_copy,
    slots_of,
)
from ragwright.programs.stage import RetrievalStage
from ragwright.retrievers.base import Retriever
from ragwright.retrievers.errors import InputError

_EXPOSED = "exposed_knobs"
"""The attribute in which DSPy sees the knobs that it did not."""
_RESULT = "compile_result"
"""What a compile says of a program: it holds the program as it was, which is no part of it."""
_ATOMS = (str, bytes, int, float, type(None))
"""What leads nowhere; a program may hold millions."""
_DEEP = 2
"""Into how many lists or tables within each other models are looked for; they may hold themselves.
"""
_INSIDES = frozenset({"ragwright", "dspy", "litellm", "builtins"})
"""Packages whose own objects are no user's."""


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


def modules_of(program: dspy.Module) -> dict[str, dspy.Module]:
    """Return every module, by its place; the program itself is "self"."""
    found = {name: part for name, part in _walked(program) if isinstance(part, dspy.Module)}
    return {"self": program, **found}


def replace_models(program: dspy.Module, change: Callable[[dspy.BaseLM], dspy.BaseLM]) -> None:
    """Put others in the place of the language models that a program's parts hold.

    Those of predictors, and those that a module keeps as an attribute, or in a list or table, to
    answer by in a `with dspy.context(lm=...)` of its own.

    Args:
        program: Changed in place.
        change: Is given each language model once, and returns what is to stand for it.
    """
    made: dict[int, dspy.BaseLM] = {}

    def changed(held: Any, deep: int = _DEEP) -> Any:
        if isinstance(held, dspy.BaseLM):
            return made.setdefault(id(held), change(held))
        if deep and type(held) in (list, tuple):
            return type(held)(changed(one, deep - 1) for one in held)
        if deep and type(held) is dict:
            return {key: changed(one, deep - 1) for key, one in held.items()}
        return held

    for _, part in list(_walked(program)):
        for name, held in vars(part).items():
            if name not in (_RESULT, "history", "demos", "traces", "train") and _has_model(held):
                vars(part)[name] = changed(held)


def _has_model(held: object, deep: int = _DEEP) -> bool:
    if deep and type(held) in (list, tuple, dict):
        parts: Any = held.values() if isinstance(held, dict) else held
        return any(_has_model(one, deep - 1) for one in parts)
    return isinstance(held, dspy.BaseLM)


def foreign_retrievers(program: dspy.Module) -> list[dspy.Retrieve]:
    """Return every `dspy.Retrieve` that is not part of a stage."""
    walked = [part for _, part in _walked(program)]
    inner = {
        id(part)
        for stage in walked
        if isinstance(stage, RetrievalStage)
        for _, part in _walked(stage)
        if isinstance(part, Retriever)
    }
    found = (part for part in walked if isinstance(part, dspy.Retrieve))
    return [part for part in found if id(part) not in inner and not _has_stages(part)]


def _has_stages(retriever: dspy.Retrieve) -> bool:
    """Whether a retriever of the user's searches by a stage of ours."""
    return any(isinstance(part, RetrievalStage) for _, part in _walked(retriever))


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
    found = knobs_of(program)
    with thaw_compiled_parts(program):
        seen = {id(part) for part in program.parameters()}
    return {place: leaf for place, leaf in found.items() if id(leaf) not in seen}


def hidden_predictors(program: dspy.Module) -> list[str]:
    """Return the places of predictors that DSPy does not see: its optimizers leave them alone."""
    walked = list(_walked(program))
    with thaw_compiled_parts(program):
        seen = {id(part) for part in program.predictors()}
    return [
        place for place, part in walked if isinstance(part, dspy.Predict) and id(part) not in seen
    ]


@contextmanager
def thaw_compiled_parts(program: dspy.Module) -> Iterator[None]:
    """Let no part of a program be marked as compiled inside (`compiled_parts` says why)."""
    frozen = compiled_parts(program)
    for part in frozen:
        mark_compiled(part, False)
    try:
        yield
    finally:
        for part in frozen:
            mark_compiled(part, True)


def name_knobs(program: dspy.Module) -> None:
    """Tell every `Knobs` its place."""
    for place, leaf in knobs_of(program).items():
        leaf.place = place


def relocate_indexes(program: dspy.Module, paths: Mapping[str, str]) -> None:
    """Have every stage, retriever and reranker over an index use it where it lies now.

    Args:
        program: Changed in place.
        paths: Where each index was, and where it is.
    """
    for _, part in _walked(program):
        found = paths.get(getattr(part, "path", None) or "")
        if found is not None:
            part.path = found


def copy_program(program: dspy.Module) -> dspy.Module:
    """Return a deep copy whose tools refer to it, not to the program that it was copied from.

    What a function finds among its module's globals is shared.

    Raises:
        InputError: A module keeps something in slots, which DSPy does not copy.
    """
    for _, part in _walked(program):
        _check_slots(part)
    memo: dict[int, Any] = {}
    twin: dspy.Module = deep_copy(program, memo)
    rebound = Rebinding(memo, _refers)
    originals = {id(part) for _, part in _walked(program)}
    # Functions are made anew before the walk goes through them: they led to the original's parts.
    for _, part in _walked(twin):
        if id(part) not in originals:
            rebound.inside(vars(part))
    for _, part in list(_walked(twin)):
        if _EXPOSED in vars(part):
            expose_knobs(part)  # those of a stage that is shared were copied with the table
    return twin


def _check_slots(part: object) -> None:
    """Refuse what every optimizer of DSPy's would lose: its modules copy their `__dict__`."""
    kept = [name for name in slots_of(part) if isinstance(part, dspy.Module)]
    if kept:
        raise InputError(
            f"{type(part).__name__} keeps {', '.join(map(repr, kept))} in __slots__, and DSPy "
            "neither sees nor copies that.",
            hint="Leave __slots__ out of classes that are a dspy.Module.",
        )


def expose_knobs(program: dspy.Module) -> None:
    """Have DSPy see all knobs of a program, so that its own `save` and `load` know them.

    DSPy sees what attributes hold, and lists and tables in them; not what a tool, a function or a
    list in a table holds. To be called at the end of the program's `__init__`, so that a program
    that is to be loaded has them too.
    """
    setattr(program, _EXPOSED, {})
    setattr(program, _EXPOSED, hidden_knobs(program))


def make_savable(program: dspy.Module) -> None:
    """Let DSPy's own `save` work for a program with retrievers of DSPy's.

    `dspy.Module.save` tells every parameter its `json_mode`, and `dspy.Retrieve` takes none.
    """
    for _, part in _walked(program):
        if isinstance(part, Parameter) and not isinstance(part, dspy.Module):
            taken = inspect.signature(part.dump_state).parameters
            if "json_mode" not in taken:
                vars(part)["dump_state"] = _Dumped(part)


@dataclass(frozen=True)
class _Dumped:
    """The `dump_state` of a parameter, told what it does not take."""

    part: Any

    def __call__(self, json_mode: bool = True) -> Any:
        return type(self.part).dump_state(self.part)


def protect(
    program: dspy.Module, settings: FallbackSettings, *, second_lm: dspy.LM | None = None
) -> None:
    """Let every stage of a program fall back instead of failing, from now on, tools' included.

    For serving. Leave it out when compiling or evaluating.
    """
    guard = FallbackGuard(settings, second_lm)
    for _, part in _walked(program):
        if isinstance(getattr(part, "guard", None), FallbackGuard):  # not what a user calls so
            part.guard = guard


def is_async_only(program: dspy.Module) -> bool:
    """Whether a program can be awaited and not called."""
    # Of the class: DSPy warns of every look at an instance's `forward` from outside.
    kind = type(program)
    return not hasattr(kind, "forward") and hasattr(kind, "aforward")


def as_callable(program: dspy.Module) -> dspy.Module:
    """Return a program that can be called: itself, or one that awaits it where it must be."""
    made: dspy.Module = dspy.syncify(program) if is_async_only(program) else program
    return made


def _walked(root: object) -> Iterator[tuple[str, Any]]:
    """Yield every module, parameter and tool below an object once, with its path, depth first."""
    yield from _below("", root, {id(root)})


def _refers(part: object) -> bool:
    """Whether something is, or leads to, a module or retriever."""
    return any(isinstance(one, dspy.Module | Parameter) for _, one in _walked(part))


def _below(path: str, part: object, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(part, dspy.Module | Parameter | dspy.Tool):
        yield path or "self", part
    for step, held in _held(part):
        if id(held) not in seen and not isinstance(held, _ATOMS):
            seen.add(id(held))
            yield from _below(f"{path}{step}".removeprefix("."), held, seen)


def _held(part: object) -> Iterator[tuple[str, Any]]:
    """Yield what a program can reach from one of its parts, with the step that leads there."""
    if isinstance(part, Knobs | Retriever):
        return
    if isinstance(part, dspy.Module | dspy.Retrieve):
        make_late_parts(part)
        yield from ((f".{name}", value) for name, value in vars(part).items() if name != _RESULT)
    elif isinstance(part, list | tuple):
        yield from ((f"[{place}]", value) for place, value in enumerate(part))
    elif isinstance(part, dict):
        yield from ((f"[{key!r}]", value) for key, value in part.items())
    else:
        yield from _called(part)


def _called(part: object) -> Iterator[tuple[str, Any]]:
    """Yield what a tool, a function or a plain object can reach."""
    match part:
        case dspy.Tool():
            yield ".func", part.func
        case MethodType():
            yield "", part.__self__
            yield from _kept(part.__self__)
        case partial():
            yield ".func", part.func
            yield from ((f".args[{place}]", value) for place, value in enumerate(part.args))
            yield from ((f".{name}", value) for name, value in part.keywords.items())
        case FunctionType():
            yield from _referred(part)
        case CachedFunction():
            yield "", part.__wrapped__
        case _:
            yield from _kept(part)


def _kept(owner: object) -> Iterator[tuple[str, Any]]:
    """Yield the modules that a plain object keeps, and what may keep some in its turn."""
    if isinstance(owner, dspy.Module | Parameter | dspy.Tool | type | ModuleType):
        return
    for name, value in attributes_of(owner).items():
        if isinstance(value, dspy.Module | dspy.Retrieve) or _may_keep(owner, value):
            yield f".{name}", value


def _may_keep(owner: Any, value: Any) -> bool:
    """Whether to look into what a plain object holds: containers of a user's, and her objects.

    Clients and models are left alone: they are of installed packages, and have large insides.
    """
    plain = isinstance(value, list | tuple | dict) or _is_users(type(value))
    return plain and _is_users(type(owner))


def _is_users(kind: type[Any]) -> bool:
    """Whether a class is a user's: a dataclass or the like, or from no installed package."""
    package = kind.__module__.partition(".")[0]
    if package in _INSIDES or package in sys.stdlib_module_names:
        return False
    kept = is_dataclass(kind) or hasattr(kind, "__attrs_attrs__") or issubclass(kind, BaseModel)
    return kept or not _is_installed(package)


@lru_cache(maxsize=1024)
def _is_installed(package: str) -> bool:
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    return bool({"site-packages", "dist-packages"} & set(Path(file).parts))


def _referred(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function refers to: defaults, its closure, and names among its globals."""
    yield from ((f".{place}", value) for place, value in enumerate(function.__defaults__ or ()))
    yield from ((f".{name}", value) for name, value in (function.__kwdefaults__ or {}).items())
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
