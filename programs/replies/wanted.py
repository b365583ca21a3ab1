"""Tells which fields a signature wants of a reply, and which of them the answer can do without.

A side field says something about the answer; where it can't be read it is absent, and the answer
stands. Any other field that has neither a default nor None as a value is required.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from ragwright.programs.replies.values import absent_value, allows_none

SIDE = frozenset({
    "citations", "sources", "references", "confidence", "certainty", "probability", "enough",
    "note", "reasoning", "rationale", "explanation", "thought", "thoughts", "justification",
    "discussion", "proposed_prefix_for_output_field",
})  # fmt: skip
"""Names of fields that say something about an answer, or stand beside an instruction."""

_OPTIMIZERS = ("dspy.teleprompt.", "dspy.propose.")
_INFERRED = {"examples_text", "natural_language_rules"}
"""Fields of what `dspy.InferRules` asks for by a signature that it makes on its way."""

SHARES = frozenset({"confidence", "certainty", "probability", "relevance"})
"""Names of numbers from 0 to 1, which models like to give in per cent."""

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "answer": (
        "final_answer", "short_answer", "antwort", "réponse", "reponse", "respuesta", "risposta",
        "resposta", "antwoord", "ответ", "答案", "回答", "答え", "답변", "답", "odpowiedź", "cevap",
        "jawaban", "svar", "vastaus", "απάντηση", "الإجابة", "उत्तर", "відповідь", "câu trả lời",
    ),
    "citations": (
        "citation", "sources", "source", "references", "passages", "cited_passages", "quellen",
        "quelle", "zitate", "citas", "fuentes", "citazioni", "fonti", "citações", "fontes",
        "bronnen", "источники", "цитаты", "引用", "来源", "出典", "인용", "출처", "źródła",
        "kaynaklar", "sumber", "källor", "المصادر", "джерела", "nguồn",
    ),
    "confidence": ("konfidenz", "confiance", "confianza", "fiducia", "уверенность", "置信度"),
}  # fmt: skip
"""What models call a field in their own words, or in the language of the question."""


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

    @cached_property
    def called(self) -> Mapping[str, OutputField]:
        """Every name that means an output field, folded: its own, and others that nothing has."""
        own = {normalize_field_name(one.name): one for one in self.fields}
        taken = {*own, *map(normalize_field_name, self.inputs)}
        others = {normalize_field_name(other): one for one in self.fields
                  for other in OTHER_NAMES.get(one.name.lower(), ())}  # fmt: skip
        return {**{name: one for name, one in others.items() if name not in taken}, **own}


def normalize_field_name(name: str) -> str:
    """A field's name as it is compared: case, spaces and signs do not count."""
    return re.sub(r"[\W_]+", "", name.casefold())


def asked_by_optimizer(signature: Any) -> bool:
    """Whether one of DSPy's optimizers has something written, and no program is asked."""
    named = str(signature.__module__).startswith(_OPTIMIZERS)
    return named or set(signature.fields) >= _INFERRED


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
