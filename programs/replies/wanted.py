"""Tells which fields a signature wants of a reply, and which of them the answer can do without.

A side field says something about the answer; where it can't be read it is absent, and the answer
stands. Any other field that has neither a default nor None as a value is required.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ragwright.programs.replies.values import absent_value, allows_none

SIDE = frozenset({
    "citations", "sources", "references", "confidence", "certainty", "probability", "enough",
    "note", "reasoning", "rationale", "explanation", "thought", "thoughts", "justification",
})  # fmt: skip
"""Names of fields that say something about an answer."""

SHARES = frozenset({"confidence", "certainty", "probability", "relevance"})
"""Names of numbers from 0 to 1, which models like to give in per cent."""


@dataclass(frozen=True)
class OutputField:
    """One output field.

    Attributes:
        name: Its name.
        annotation: Its type.
        required: Whether a reply without it cannot be used.
        default: What it is where it is not given.
    """

    name: str
    annotation: Any
    required: bool
    default: Any = None

    @property
    def is_text(self) -> bool:
        """Whether it is a text."""
        return self.annotation is str


@dataclass(frozen=True)
class OutputFields:
    """The output fields of a signature, in order, and the names of its inputs."""

    fields: tuple[OutputField, ...]
    inputs: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[OutputField, ...]:
        """The fields that a reply cannot do without."""
        return tuple(field for field in self.fields if field.required)

    @property
    def main(self) -> OutputField | None:
        """The field that a reply without any form must mean, if there is such a one."""
        required = self.required
        if len(required) == 1:
            return required[0]
        texts = [field for field in self.fields if field.is_text]
        return texts[-1] if not required and texts else None

    @property
    def names(self) -> frozenset[str]:
        """Names of the output fields, in lower case."""
        return frozenset(field.name.lower() for field in self.fields)


def output_fields(signature: Any) -> OutputFields:
    """Return what a `dspy.Signature` wants of a reply."""
    return _wanted_by(signature)


@lru_cache(maxsize=256)
def _wanted_by(signature: Any) -> OutputFields:
    outputs = signature.output_fields
    beside = {name for name in outputs if name.lower() in SIDE}
    if beside == set(outputs):
        beside = set(list(outputs)[:-1])
    fields = tuple(_field(name, info, side=name in beside) for name, info in outputs.items())
    return OutputFields(fields, tuple(signature.input_fields))


def _field(name: str, info: Any, *, side: bool) -> OutputField:
    annotation = info.annotation
    if not info.is_required():
        return OutputField(name, annotation, False, info.get_default(call_default_factory=True))
    required = not side and not allows_none(annotation)
    return OutputField(name, annotation, required, absent_value(annotation))
