"""Describes a program in a few lines, for a language model that writes its instructions."""

from __future__ import annotations

import dspy

from ragwright.programs.anatomy import stages_of

_LINES = 10
_WIDTH = 300


def describe_program(program: dspy.Module) -> str:
    """Say what a program does: its kind, where it searches, and what each predictor is asked for.

    DSPy shows a writer the program's source instead, thousands of characters of it.
    """
    told = _first_line(type(program).__doc__)
    lines = [f"A program of the kind {type(program).__name__}" + (f": {told}" if told else ".")]
    places = [
        place.removesuffix("knobs").rstrip(".") or "the program" for place in stages_of(program)
    ]
    if places:
        lines.append(f"It searches a collection of documents, at: {', '.join(places)}.")
    for name, predictor in program.named_predictors():
        signature = predictor.signature
        lines.append(f"{name} is asked for {signature.signature}: {_first_line(signature.__doc__)}")
    if len(lines) > _LINES:
        left = len(lines) - _LINES + 1
        lines = [*lines[: _LINES - 1], f"... and {left} more."]
    return "\n".join(line[:_WIDTH] for line in lines)


def _first_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[0] if lines else ""
