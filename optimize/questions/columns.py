"""The columns of a training set that are a program's own inputs and labels."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import dspy

from ragwright.optimize.questions.formats import scalars_as_text
from ragwright.programs.anatomy import predictors_of
from ragwright.programs.build import build_program
from ragwright.programs.interface import ProgramInputs
from ragwright.programs.outputs import BESIDE, value_of_member
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import content_hash

_PLACE = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where in memory an object lies, as Python's own `repr` says it."""


@dataclass(frozen=True)
class Columns:
    """What a training set's rows may hold for a program, besides what every row may.

    Attributes:
        inputs: What the program takes.
        labels: The outputs of its signatures, for a metric to compare with.
    """

    inputs: ProgramInputs = field(default_factory=ProgramInputs)
    labels: frozenset[str] = frozenset()

    @classmethod
    def of(cls, recipe: Recipe) -> Columns:
        """Read what the program of a recipe takes and gives; ours as they are take no more.

        Raises:
            InputError: It is from outside, and was not allowed or cannot be imported.
        """
        if not recipe.program.own and not recipe.program.signature:
            return cls()
        program = build_program(recipe)
        outputs = {name for one in predictors_of(program) for name in one.signature.output_fields}
        return cls(ProgramInputs.of(program), frozenset(outputs - BESIDE))


PLAIN = Columns()
"""A question, and no more."""


def split_columns(
    row: Mapping[str, Any], columns: Columns, known: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what every row may hold, and what the program's columns add.

    Args:
        row: As it stands in the file.
        columns: What the program takes and gives.
        known: The keys that every row may have.
    """
    names = {*columns.inputs.types, *columns.labels}
    more = {name: row[name] for name in row if name in names and row[name] is not None}
    plain = {name: value for name, value in row.items() if name not in names or name in known}
    return plain, more


def rename_question_column(row: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """Return a row whose question has our name for it, where the program has another."""
    if "question" in row:
        return dict(row)
    asked = columns.inputs.question
    return {("question" if name == asked else name): value for name, value in row.items()}


def program_inputs(
    question: str, given: Mapping[str, Any], columns: Columns, place: str
) -> dict[str, Any]:
    """Return what the program is called with.

    Raises:
        InputError: An input is missing or of another type; it names the place in the file.
    """
    try:
        return columns.inputs.call(question, given, written=True)
    except InputError as error:
        raise InputError(f"{place}: {error.what}", hint=error.hint) from error


def asked_text(question: str, example: dspy.Example | None) -> str:
    """What two rows that ask the same share: the question's words, and the other inputs."""
    words = " ".join(question.casefold().split())
    if example is None:
        return words
    inputs = example.inputs().toDict()
    others = sorted((name, repr(value)) for name, value in inputs.items() if value != question)
    return f"{words} {others}" if others else words


def question_identity(question: str, given: Mapping[str, Any]) -> str:
    """The id of a row that has none: the same question with other inputs has another."""
    return content_hash(question, json.dumps(given, sort_keys=True, default=str))[:12]


def stable_text(value: object) -> str:
    """Text that tells values apart and is the same in any process, whatever object is in them."""
    return _PLACE.sub("", repr(_ordered(value)))


def _ordered(value: Any) -> Any:
    """A value with its sets as sorted lists: their own order differs from process to process."""
    if type(value) is dict:
        return {key: _ordered(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_ordered, value))
    return sorted(value, key=stable_text) if isinstance(value, set | frozenset) else value


def as_texts(value: object) -> tuple[str, ...]:
    """Read one text, or several, numbers among them; anything else is none."""
    plain = _ordered(value.tolist() if hasattr(value, "tolist") else value)
    values = plain if isinstance(plain, list | tuple) else (plain,)
    found = (scalars_as_text(value_of_member(one)) for one in values)
    return tuple(item for item in found if isinstance(item, str) and item.strip())


def answers_of(example: dspy.Example) -> tuple[str, ...]:
    """The accepted answers of an example, however its fields are called and filled."""
    return as_texts(example.get("answers")) or as_texts(example.get("answer"))


def documents_of(example: dspy.Example) -> tuple[str, ...]:
    """The documents that an example names."""
    return as_texts(example.get("documents")) or as_texts(example.get("document"))


def evidence_of(example: dspy.Example) -> tuple[str, ...]:
    """The snippets that an example wants found."""
    return as_texts(example.get("evidence"))


def text_asked(example: dspy.Example) -> str:
    """What an example asks: its `question`, or else the first of its inputs that is a text."""
    given = dict(example.inputs().items())
    texts = (value for value in given.values() if isinstance(value, str))
    return str(given.get("question") or next(texts, ""))


def labels_as_text(labels: Mapping[str, object]) -> str:
    """What is expected of an own signature, for people."""
    hidden = {"id", "group", "split", "documents", "document", "evidence"}
    shown = {key: value_of_member(value) for key, value in labels.items() if key not in hidden}
    return ", ".join(f"{key}: {value}" for key, value in shown.items())
