"""Checks what the `compile` of a teleprompter is to be called with, before anything is spent."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from dspy.teleprompt import Teleprompter

from ragwright.retrievers.errors import CompileError


def check_options(teleprompter: Teleprompter, options: Mapping[str, Any]) -> None:
    """Refuse what it would refuse once most is spent.

    Raises:
        CompileError: Its `compile` does not take an option, or needs another one.
    """
    name = type(teleprompter).__name__
    taken = inspect.signature(teleprompter.compile).parameters.values()
    known = {one.name for one in taken} - {"student", "trainset", "kwargs"}
    unknown = sorted(options.keys() - known)
    if unknown and not any(one.kind is one.VAR_KEYWORD for one in taken):
        raise CompileError(
            f"{name}.compile takes no {unknown[0]!r}.",
            hint=f"It takes {', '.join(sorted(known))}. Settings go to JointOptimizer(...).",
        )
    given = {"student", "trainset", *options}
    missing = [
        one.name
        for one in taken
        if one.default is one.empty
        and one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)
        and one.name not in given | {"valset"}
    ]
    if missing:
        raise CompileError(
            f"{name}.compile needs {missing[0]!r}, too.",
            hint=f"Hand it on: compile(student, trainset=..., {missing[0]}=...).",
        )
