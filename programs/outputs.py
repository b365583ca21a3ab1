"""Reads the prediction of any program: its answer, and its outputs as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import dspy
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from ragwright.programs.replies.values import read_value
from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.types import Passage

BESIDE = frozenset({
    "reasoning", "final_reasoning", "rationale", "trajectory", "notes", "context", "passages",
    "retrieved", "cut", "citations", "degraded", "invented", "abstained", "confidence", "read",
})  # fmt: skip
"""What predictions carry besides what was asked for."""


RETRIEVED = ("passages", "ids", "scores", "metadata")
"""What a retrieval stage returns, in parallel lists."""


def output_values(reply: Any, signature: Any) -> dict[str, Any]:
    """Return the output fields of a signature in a predictor's reply; None where one is absent."""
    return {name: reply.get(name) for name in signature.output_fields}


def main_output(signature: Any) -> str:
    """Return the name of the output that is the answer: see `find_answer_output`."""
    outputs = signature.output_fields
    if "answer" in outputs:
        return "answer"
    asked = [name for name in outputs if name not in BESIDE]
    texts = [name for name in asked if outputs[name].annotation is str]
    return str(next(iter([*texts, *asked, *outputs])))


def find_answer_output(fields: Mapping[str, Any]) -> Any:
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
        return str(value_of_member(find_answer_output(fields)))
    absent = prediction is None or isinstance(prediction, dspy.Prediction | dspy.Example)
    return "" if absent else str(value_of_member(prediction))


def value_of_member(value: Any) -> Any:
    """Return the value of a member of an enumeration, which is what models write, or any other."""
    return value.value if isinstance(value, Enum) else value


def other_outputs(prediction: Any) -> dict[str, Any]:
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


def find_prediction(returned: Any) -> dspy.Prediction:
    """Return the prediction that a program returned, by itself or among others; an empty one else.

    Many return `context, prediction`.
    """
    parts = returned if isinstance(returned, list | tuple) else (returned,)
    found = (part for part in parts if isinstance(part, dspy.Prediction))
    return next(found, dspy.Prediction())


def passages_of(prediction: dspy.Prediction, found: Sequence[Passage] = ()) -> list[Passage]:
    """Return the passages that a prediction names, or else all that the program's stages found.

    A program of one's own may mean something else by the name.
    """
    named = prediction.get("passages")
    if named is None:
        return list(found)
    return [one for one in _each(named) if isinstance(one, Passage)]


def context_of(prediction: dspy.Prediction, passages: Sequence[Passage]) -> tuple[str, ...]:
    """Return what the language model read: the context that a prediction tells, or the passages."""
    told = prediction.get("context")
    if isinstance(told, str):
        return (told,)
    return tuple(map(str, _each(told) or passages))


def citations_of(prediction: dspy.Prediction, most: int | None = None) -> tuple[int, ...]:
    """Return the numbers of passages that a prediction cites, from 1; none that are above `most`.

    What a program of one's own calls so may be a text, or a list of texts, and is left out.
    """
    cited = [number for number in _each(prediction.get("citations")) if type(number) is int]
    return tuple(number for number in cited if most is None or 1 <= number <= most)


def stated_confidence(prediction: dspy.Prediction) -> float | None:
    """Return how sure a prediction says to be; None where that is not known."""
    try:
        sure: float = read_value(prediction.get("confidence"), float)[0]
    except ValueError:
        return None
    return sure


def _each(value: object) -> list[Any]:
    """The parts of a list of any kind; none of a text or a number."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []


def _fields(returned: Any) -> dict[str, Any]:
    """What a program returned by name, whatever holds it; of a prediction, what is not `BESIDE`."""
    if isinstance(returned, dspy.Prediction | dspy.Example):
        # Left out before DSPy writes all out as plain values: a retrieval with its texts, say.
        beside = BESIDE.union(RETRIEVED) if isinstance(returned, RetrievalResult) else BESIDE
        kept = {name: value for name, value in returned.items(True) if name not in beside}
        found: dict[str, Any] = dspy.Example(kept).toDict()
        return found
    if isinstance(returned, Mapping):
        return {str(name): value for name, value in returned.items()}
    names = _names(returned)
    if not names and isinstance(returned, list | tuple):
        return _fields(find_prediction(returned))
    return {name: getattr(returned, name) for name in names}


def _names(returned: Any) -> tuple[str, ...]:
    """What the fields of an object are called, where its class says so."""
    if isinstance(returned, BaseModel):
        return tuple(type(returned).model_fields)
    if isinstance(returned, tuple):
        return tuple(getattr(returned, "_fields", ()))
    if is_dataclass(returned):
        return tuple(one.name for one in fields(returned))
    return ()
