"""What is read from the prediction of any program: its answer, and its outputs as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy
from pydantic_core import PydanticSerializationError, to_jsonable_python

BESIDE = frozenset({
    "reasoning", "rationale", "trajectory", "notes", "context", "passages", "retrieved", "cut",
    "citations", "degraded", "invented", "abstained", "confidence", "read",
})  # fmt: skip
"""What predictions carry besides what was asked for."""


def fields_of(reply: Any, signature: Any) -> dict[str, Any]:
    """Return the output fields of a signature in a predictor's reply; None where one is absent."""
    return {name: reply.get(name) for name in signature.output_fields}


def main_output(signature: Any) -> str:
    """Return the name of the output that is the answer: see `answer_in`."""
    outputs = signature.output_fields
    if "answer" in outputs:
        return "answer"
    asked = [name for name in outputs if name not in BESIDE]
    texts = [name for name in asked if outputs[name].annotation is str]
    return str(next(iter([*texts, *asked, *outputs])))


def answer_in(fields: Mapping[str, Any]) -> Any:
    """Return the output that is the answer: `answer`, or the first text, or the first of all."""
    if "answer" in fields:
        return "" if fields["answer"] is None else fields["answer"]
    asked = [value for name, value in fields.items() if name not in BESIDE]
    texts = [value for value in asked if isinstance(value, str)]
    return next(iter([*texts, *asked]), "")


def answer_of(prediction: Any) -> str:
    """Return the answer of whatever a program returned, as text."""
    fields = _fields(prediction)
    if fields:
        return str(answer_in(fields))
    return "" if prediction is None else str(prediction)


def others_of(prediction: Any) -> dict[str, Any]:
    """Return what a program gave besides its answer, as JSON takes it.

    What no JSON can be made of is left out, as is what every program of ours carries.
    """
    found: dict[str, Any] = {}
    for name, value in _fields(prediction).items():
        if name in BESIDE or name == "answer":
            continue
        try:
            found[name] = to_jsonable_python(value, inf_nan_mode="null")
        except PydanticSerializationError:
            continue
    return found


def _fields(prediction: Any) -> dict[str, Any]:
    """What a program returned, by name: a prediction of DSPy's, or a table; empty of any other."""
    if isinstance(prediction, dspy.Prediction | dspy.Example):
        fields: dict[str, Any] = prediction.toDict()
        return fields
    table = prediction if isinstance(prediction, Mapping) else {}
    return {str(name): value for name, value in table.items()}
