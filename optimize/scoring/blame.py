"""An evaluation in which every question failed, told as one error: what failed, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

import dspy
from dspy.utils.exceptions import DSPyError, LMError

from ragwright.optimize.scoring.metrics import OF_METRIC, Metric
from ragwright.optimize.workers import TimedOut
from ragwright.programs.causes import cause_of
from ragwright.retrievers.errors import CompileError, RagError


def all_failed_error(errors: Sequence[Exception], judge: Metric) -> CompileError:
    """Return the error that ends an evaluation; the first failure stands for all."""
    first = errors[0]
    where, hint = _blamed(first, judge)
    named = describe_error(first).removesuffix(".")
    said = f"All {len(errors)} questions failed; the first with {named}{where}."
    return CompileError(said, hint=hint)


def _blamed(error: Exception, judge: Metric) -> tuple[str, str]:
    """Where it was raised, where that is not plain from it, and what to do."""
    if OF_METRIC in getattr(error, "__notes__", ()):
        return ", in the metric", f"Try the metric {judge.name!r} on one prediction."
    if isinstance(error, RagError) and error.hint:
        return "", error.hint
    if isinstance(error, LMError):
        return "", cause_of(error, dspy.settings.lm).hint
    if isinstance(error, TimedOut):
        return "", (
            "A slow model wants shorter replies or more time: lower max_tokens under [lm], or "
            "raise timeout under [compile]; `rag lm check RECIPE` tells how long a reply takes."
        )
    if isinstance(error, DSPyError | RagError | OSError):
        return "", "Check the language model and the index with `rag ask`."
    return ", in the program", "Call the program with the inputs of one question to see where."


def describe_error(error: Exception) -> str:
    """The kind of an error, and the first line of what it says."""
    said = error.what if isinstance(error, RagError) else str(error)
    lines = said.splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
