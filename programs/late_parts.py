"""Makes parts of programs that would else be made when they are first asked for.

A stage or predictor that a caching property makes is not there before a question was asked, and in
a copy not either: nothing could be set in it. Only properties that say what they return are asked,
since any other may call a language model, and only while they hold nothing.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, lru_cache
from inspect import isclass
from typing import Any, get_type_hints

import dspy
from dspy.predict.parameter import Parameter

from ragwright.retrievers.base import Retriever

_NOT_YET = (AttributeError, LookupError, TypeError, ValueError)
"""What a property raises that needs something which only a question brings."""


def make_late_parts(owner: Any) -> None:
    """Have an object make the parts that its caching properties are annotated to return."""
    kind: Any = type(owner)
    kept = getattr(owner, "__dict__", {})
    for name, attribute in late_parts_of(kind).items():
        if kept.get(attribute) is None:
            with suppress(*_NOT_YET):
                getattr(owner, name)


@lru_cache(maxsize=1024)
def late_parts_of(kind: type[Any]) -> dict[str, str]:
    """Return the properties that make a part of a program once, and where they keep it."""
    held = {name: one for base in reversed(kind.__mro__) for name, one in vars(base).items()}
    found = {name: _caching(name, one) for name, one in held.items()}
    return {
        name: attribute
        for name, (making, attribute) in found.items()
        if attribute and _returns_part(making)
    }


def _caching(name: str, held: object) -> tuple[Any, str]:
    """The function of a caching property, and the attribute that keeps what it returns."""
    match held:
        case cached_property():
            return held.func, name
        case property(fget=function):
            return function, _stored(function)
    return None, ""


def _stored(function: Any) -> str:
    """The one attribute that a function sets; empty if it sets none, or several."""
    code = getattr(function, "__code__", None)
    steps = dis.get_instructions(code) if code is not None else ()
    names = {step.argval for step in steps if step.opname == "STORE_ATTR"}
    return str(names.pop()) if len(names) == 1 else ""


def _returns_part(function: Callable[..., Any]) -> bool:
    """Whether a function is annotated to return a stage, a retriever or a module."""
    try:
        returned = get_type_hints(function).get("return")
    except (NameError, TypeError):  # A name that only a type checker sees
        return False
    return isclass(returned) and issubclass(returned, dspy.Module | Parameter | Retriever)
