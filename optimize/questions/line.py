"""Checks one line of a training set in our own form. Knows nothing of files or of other forms."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator

NO_ANSWER = "the question has no answer"


class Line(BaseModel):
    """One object, as people write it."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    question: str
    id: str = ""
    answer: str = ""
    answers: tuple[str, ...] = ()
    document: str = ""
    documents: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    group: str = ""
    split: Literal["train", "dev", "test"] | None = None
    synthetic: bool = False
    time: str = ""
    kind: str = ""

    @model_validator(mode="before")
    @classmethod
    def _one_snippet_is_a_list(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("evidence"), str):
            return {**values, "evidence": [values["evidence"]]}
        return values

    @model_validator(mode="after")
    def _complete(self, info: ValidationInfo) -> Line:
        if not self.question.strip():
            raise ValueError("the question is empty")
        needed = not info.context or not self._labelled
        if needed and not any(answer.strip() for answer in (self.answer, *self.answers)):
            raise ValueError(NO_ANSWER)
        return self

    @property
    def _labelled(self) -> bool:
        return bool(distinct(self.document, *self.documents, *self.evidence))


def distinct(*values: str) -> tuple[str, ...]:
    """Texts that are not empty, each once, without the blanks around them."""
    return tuple(dict.fromkeys(value.strip() for value in values if value.strip()))
