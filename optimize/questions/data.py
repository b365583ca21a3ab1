"""Reads a training set into checked `Question`s.

Knows nothing of indexes, programs or metrics. Every complaint names the file and the line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import dspy
from pydantic import ValidationError

from ragwright.optimize.questions import columns as own
from ragwright.optimize.questions.by_names import is_foreign, row_by_names
from ragwright.optimize.questions.columns import PLAIN, Columns
from ragwright.optimize.questions.formats import (
    NAMES,
    PARAGRAPHS,
    UNANSWERABLE,
    convert_row,
    scalars_as_text,
    texts_in,
)
from ragwright.optimize.questions.line import NO_ANSWER, Line, distinct
from ragwright.optimize.questions.sources import read_training_rows
from ragwright.retrievers.argument_checks import check_list
from ragwright.retrievers.errors import InputError, as_path
from ragwright.retrievers.settings import describe_setting_errors
from ragwright.retrievers.text import answer_words
from ragwright.retrievers.types import content_hash

Side = Literal["train", "dev", "test"]
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True, slots=True)
class Question:
    """One line of a training set.

    Attributes:
        id: Unique in the set.
        question: What is asked.
        answers: All accepted answers; the first is the one shown in demonstrations.
        documents: Ids of the documents that hold the answer; may be empty.
        evidence: Verbatim snippets of the documents that support the answer; may be empty.
        group: Questions of one group never stand on two sides of a split.
        split: The side that the training set itself asks for, if it does.
        synthetic: Nobody asked it: it was written from the documents.
        time: When it was asked: seconds, or a date as in ISO 8601; may be empty.
        example: What a program of another signature is called with and judged by, if not by this.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    documents: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    group: str = ""
    split: Side | None = None
    synthetic: bool = False
    time: str = field(default="", repr=False)
    example: dspy.Example | None = field(default=None, repr=False, compare=False)

    def joined(self, other: Question) -> Question:
        """Add the answers, documents and evidence of a row that asks the same."""
        if self.example is not None or other.example is not None:
            return self  # its labels are its program's own
        return replace(
            self,
            answers=distinct(*self.answers, *other.answers),
            documents=distinct(*self.documents, *other.documents),
            evidence=distinct(*self.evidence, *other.evidence),
        )

    @property
    def content(self) -> str:
        """Everything in it, as text that is the same in any run."""
        shown = f"{self!r} {self.time}" if self.time else repr(self)
        return (
            shown if self.example is None else f"{shown} {own.stable_text(self.example.toDict())}"
        )


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The questions of a file, in its order.

    Attributes:
        questions: Each once; rows that ask the same give their answers and labels to the first.
        duplicates: How many such rows there were.
        unanswerable: How many were left out because their source says that nothing answers them.
        disagreeing: Ids of questions whose rows give different answers.
    """

    questions: tuple[Question, ...]
    duplicates: int = 0
    unanswerable: int = 0
    disagreeing: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A hash of everything in the questions, the same for the same set in any run."""
        return content_hash(*(question.content for question in self.questions))


@dataclass(frozen=True, slots=True)
class Splits:
    """The three sides.

    Attributes:
        train: What demonstrations are taken from.
        dev: What everything is selected on.
        test: What is reported on, once.
        shared_groups: Groups that stand on two sides; only an explicit `split` column does that.
    """

    train: tuple[Question, ...]
    dev: tuple[Question, ...]
    test: tuple[Question, ...]
    shared_groups: int = 0


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """A row of a training set.

    Attributes:
        number: Of its line or row, from 1.
        question: What it asks; None if nothing answers it.
        paragraphs: The texts of the documents that it names, where its source has them.
        asked: Its words, also where nothing answers it.
        names: What its documents may be called, if the index knows them so.
    """

    number: int
    question: Question | None
    paragraphs: tuple[str, ...] = ()
    asked: str = ""
    names: tuple[str, ...] = ()


def read_questions(
    path: str | Path, columns: Columns = PLAIN, *, answered: bool = True
) -> TrainingSet:
    """Read a training set, in our form or in that of a tool in `formats.py`.

    Args:
        path: A file, or a folder in BEIR's form.
        columns: What a row may hold besides: the inputs of the program that is to answer, and
            labels that its metric compares with.
        answered: Whether every question needs an answer; for retrieval, evidence or documents do.

    Raises:
        InputError: No such file, a malformed line, an unknown key, a question without an
            answer, or an id that occurs twice; with file and line number.
    """
    file = as_path(path)
    questions: list[Question] = []
    lines: dict[str, int] = {}
    asked: dict[str, int] = {}
    disagreeing: dict[str, None] = {}
    duplicates = 0
    unanswerable = 0
    for row in rows_with_places(file, columns=columns, answered=answered):
        number, question = row.number, row.question
        if question is None:
            unanswerable += 1
            continue
        text = own.asked_text(question.question, question.example)
        if (at := asked.get(text)) is not None:
            first = questions[at]
            if question.example is None and _disagree(first.answers, question.answers):
                disagreeing[first.id] = None
            questions[at] = first.joined(question)
            duplicates += 1
            continue
        if question.id in lines:
            raise InputError(
                f"{file}:{number}: the id {question.id!r} stands on line {lines[question.id]} too.",
                hint="Give every question its own id, or none at all.",
            )
        lines[question.id] = number
        asked[text] = len(questions)
        questions.append(question)
    if not questions:
        what = f" with an answer: nothing answers its {unanswerable}" if unanswerable else ""
        hint = "Write a JSON object a line, as docs/training-set.md shows."
        raise InputError(f"{str(file)!r} holds no question{what}.", hint=hint)
    return TrainingSet(tuple(questions), duplicates, unanswerable, tuple(disagreeing))


def to_examples(questions: Sequence[Question]) -> list[dspy.Example]:
    """Turn questions into what DSPy's optimizers and metrics take; the input is `question`."""
    return [question.example or _as_example(question) for question in questions]


def from_examples(examples: Sequence[dspy.Example], split: Side | None = None) -> list[Question]:
    """Turn examples of any fields into questions; what is known of labels is taken along.

    `documents` and `evidence` (or `document`) are labels; `group`, `time` and `id` are heeded.

    Raises:
        InputError: An example does not say which of its fields are inputs, or two have one id.
    """
    check_list("examples", examples)
    found = [_from_example(place, example, split) for place, example in enumerate(examples)]
    ids = Counter(question.id for question in found)
    repeated = [id for id, count in ids.items() if count > 1]
    if repeated:
        raise InputError(
            f"{len(repeated)} ids of examples occur more than once (the first is {repeated[0]!r}).",
            hint="Give every example its own id, or none at all.",
        )
    return found


def _as_example(question: Question) -> dspy.Example:
    return dspy.Example(
        id=question.id,
        question=question.question,
        answer=question.answers[0],
        answers=list(question.answers),
        documents=list(question.documents),
        evidence=list(question.evidence),
    ).with_inputs("question")


def _from_example(place: int, example: dspy.Example, split: Side | None) -> Question:
    try:
        inputs, labels = dict(example.inputs().items()), dict(example.labels().items())
    except (AttributeError, ValueError) as error:
        raise InputError(
            f"Example {place} does not say which of its fields are inputs.",
            hint='Make it with dspy.Example(...).with_inputs("question", ...).',
        ) from error
    # Values stay what they are: an image, a history, a model of pydantic's are no tables.
    words = own.stable_text(example.inputs().toDict())
    identity = _text_of(example, "id") or content_hash(split or "", str(place), words)[:12]
    documents, answers = own.documents_of(example), own.answers_of(example)
    whole = dspy.Example(**{"answers": list(answers), **dict(example.items()), "id": identity})
    return Question(
        id=identity,
        question=own.text_asked(example) or words,
        answers=answers or (own.labels_as_text(labels),),
        documents=documents,
        evidence=own.evidence_of(example),
        group=_text_of(example, "group") or (documents[0] if documents else identity),
        split=split or _side_of(place, example),
        time=_text_of(example, "time"),
        example=whole.with_inputs(*inputs),
    )


def _text_of(example: dspy.Example, name: str) -> str:
    """What an example has under a name, as text; 0 is a group as any other, an empty cell none."""
    value = scalars_as_text(example.get(name))
    return "" if value is None else str(value)


def _side_of(place: int, example: dspy.Example) -> Side | None:
    """The side that an example asks for, if any; an empty cell of a column is none.

    Raises:
        InputError: It asks for a side that there is not.
    """
    asked = scalars_as_text(example.get("split"))
    if asked is None or asked in SIDES:
        side: Side | None = asked
        return side
    raise InputError(
        f"Example {place} asks for the split {asked!r}.",
        hint=f"The sides are {', '.join(SIDES)}; leave split out to have them dealt.",
    )


def rows_with_places(
    file: Path,
    *,
    form: str = "",
    columns: Columns = PLAIN,
    answered: bool = True,
    by_names: bool = False,
) -> Iterator[PlacedRow]:
    """Yield every row of a training set as it comes, repetitions included.

    Args:
        file: A file, or a folder in BEIR's form.
        form: One of `formats.FORMS`; told by each row's keys if it is empty.
        columns: What a row may hold besides.
        answered: Whether every question needs an answer; for retrieval, evidence or documents do.
        by_names: Whether to convert rows of no known format by what their keys are called.

    Raises:
        InputError: As of `read_questions`.
    """
    for number, row in read_training_rows(file):
        place = f"{file}:{number}"
        if not isinstance(row, Mapping):
            raise InputError(f"{place}: a row is an object, not {json.dumps(row)[:80]}.")
        plain, more = own.split_columns(row, columns, Line.model_fields)
        try:
            other = by_names and not form and is_foreign(plain, Line.model_fields)
            told = row_by_names(plain) if other else convert_row(plain, form)
            found = own.rename_question_column(told, columns)
        except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
            raise InputError(
                f"{place}: the row looks like another tool's, and is not in its form: {error}.",
                hint="docs/training-set.md shows one row of each format.",
            ) from error
        paragraphs, names = (tuple(texts_in(found.pop(key, ()))) for key in (PARAGRAPHS, NAMES))
        asked = found.get("question")
        empty = not answered or plain.keys() & {"answer", "answers"}
        if found.pop(UNANSWERABLE, False) or (empty and _tells_nothing(found)):
            yield PlacedRow(number, None, asked=asked if isinstance(asked, str) else "")
            continue
        labels = {name: more[name] for name in columns.labels & more.keys()}
        if labels and not found.get("answer") and not found.get("answers"):
            found["answer"] = own.labels_as_text(labels)
        try:
            line = Line.model_validate(found, context=None if answered else {"unanswered": True})
        except ValidationError as error:
            said = describe_setting_errors(error).replace("valid tuple", "list")
            raise InputError(f"{place}: {said}.", hint=_repair(said)) from error
        question = _having(_as_question(line), more, columns, place)
        yield PlacedRow(number, question, paragraphs, line.question, names)


def _repair(said: str) -> str:
    """What to do about a row that is wrong."""
    if NO_ANSWER in said:
        return (
            'Answers are compared: write one, or "unanswerable": true where nothing answers it. '
            "`rag study` takes questions with documents or evidence alone."
        )
    if "history: " in said:
        return (
            "Questions of a file stand alone: write each so that it does. In Python, examples may "
            "have a `history`: JointOptimizer(...).compile(program, trainset=examples)."
        )
    return (
        "docs/training-set.md lists every key; `rag questions import` takes over rows whose keys "
        "have other names."
    )


def _tells_nothing(row: Mapping[str, Any]) -> bool:
    """Whether a row has a question and nothing that answers it."""
    return "question" in row and not row.keys() & {
        "answer", "answers", "document", "documents", "evidence"
    }  # fmt: skip


def _as_question(line: Line) -> Question:
    documents = distinct(line.document, *line.documents)
    identity = line.id or content_hash(line.question)[:12]
    return Question(
        id=identity,
        question=line.question.strip(),
        answers=distinct(line.answer, *line.answers),
        documents=documents,
        evidence=distinct(*line.evidence),
        group=line.group or (documents[0] if documents else identity),
        split=line.split,
        synthetic=line.synthetic,
        time=line.time.strip(),
    )


def _disagree(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether no answer of one row is a part of one of the other's, or the other way round."""
    pairs = [({*answer_words(one)}, {*answer_words(two)}) for one in some for two in others]
    return bool(pairs) and not any(one <= two or two <= one for one, two in pairs)


def _having(question: Question, more: Mapping[str, Any], columns: Columns, place: str) -> Question:
    """Add the program's own columns to a question.

    Raises:
        InputError: An input is missing or of another type.
    """
    given = {name: value for name, value in more.items() if name in columns.inputs.types}
    called = own.program_inputs(question.question, given, columns, place)
    if not more and called.keys() == {"question"}:
        return question
    fields = {**_as_example(question).toDict(), **more, **called}
    if given and question.id == content_hash(question.question)[:12]:  # no id of its own
        id = fields["id"] = own.question_identity(question.question, given)
        group = id if question.group == question.id else question.group
        question = replace(question, id=id, group=group)
    return replace(question, example=dspy.Example(**fields).with_inputs(*called))
