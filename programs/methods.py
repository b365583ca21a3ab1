"""Finds the code of a user's classes in a program: what it names says what it reaches."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

import dspy

from ragwright.programs.anatomy import modules_of
from ragwright.programs.copying import is_users_class

_BUILDING = ("__init__", "__new__", "__post_init__")


def users_classes(program: dspy.Module) -> list[type[Any]]:
    """Return the classes of a program's modules, and their bases, that are a user's."""
    kinds = [type(part) for part in modules_of(program).values()]
    classes = (kind for one in kinds for kind in one.__mro__ if is_users_class(kind))
    return list(dict.fromkeys(classes))


def methods_of(program: dspy.Module) -> Iterator[FunctionType]:
    """Yield the methods of a user's classes in a program, but those that build it.

    What those find, they put where a walk through its parts goes.
    """
    for kind in users_classes(program):
        for name, value in vars(kind).items():
            method = _function(value)
            if method is not None and name not in _BUILDING:
                yield method


def codes_of(function: FunctionType) -> Iterator[CodeType]:
    """Yield the code of a function, and of those within it."""
    found = [function.__code__]
    for code in found:
        yield code
        found += [held for held in code.co_consts if isinstance(held, CodeType)]


def _function(value: Any) -> FunctionType | None:
    """The function of a method, of whatever kind."""
    for inner in ("__func__", "fget", "__wrapped__"):
        value = getattr(value, inner, None) or value
    return value if isinstance(value, FunctionType) else None
