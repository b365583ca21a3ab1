"""Walks through the parts of any DSPy program, wherever it holds them.

In sub-modules, lists, tables and plain objects, and in the tools of an agent, be the tool a module,
a method, or a function that refers to one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import dspy
from dspy.predict.parameter import Parameter

from ragwright.programs.copying import attributes_of, is_users_class
from ragwright.programs.knobs import Knobs
from ragwright.programs.late_parts import make_late_parts
from ragwright.programs.rebinding import CachedFunction
from ragwright.retrievers.base import Retriever

COMPILE_RESULT = "compile_result"
"""What a compile says of a program: it holds the program as it was, which is no part of it."""
_ATOMS = (str, bytes, int, float, type(None))
"""What leads nowhere; a program may hold millions."""


def walk_parts(root: object) -> Iterator[tuple[str, Any]]:
    """Yield every module, parameter and tool below an object once, with its path, depth first."""
    yield from _below("", root, {id(root)})


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
        yield from (
            (f".{name}", value) for name, value in vars(part).items() if name != COMPILE_RESULT
        )
    elif isinstance(part, list | tuple):
        found = ((place, one) for place, one in enumerate(part) if not isinstance(one, _ATOMS))
        yield from ((f"[{place}]", one) for place, one in found)
    elif isinstance(part, dict):
        found = ((key, one) for key, one in part.items() if not isinstance(one, _ATOMS))
        yield from ((f"[{key!r}]", one) for key, one in found)
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
    plain = isinstance(value, list | tuple | dict) or is_users_class(type(value))
    return plain and is_users_class(type(owner))


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
