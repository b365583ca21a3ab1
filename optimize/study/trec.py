"""Runs and judgements in TREC's formats, which every tool of the field reads.

A run has lines `question Q0 document rank score tag`, judgements have `question 0 document gain`
(https://trec.nist.gov/data/qrels_eng/). Scores fall with the rank, so that a tool which sorts by
them finds the order that was meant, ties included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ragwright.optimize.retrieval.labels import Labels
from ragwright.optimize.study.pooling import StudyQuestions, label_by_document
from ragwright.programs.knobs import KnobValues
from ragwright.programs.selection import select
from ragwright.retrievers.errors import InputError

TrecRun = Mapping[str, Mapping[str, float]]
Judgements = Mapping[str, Mapping[str, int]]


def trec_run(studied: StudyQuestions, knobs: KnobValues) -> TrecRun:
    """Return question id to document id to score, each document once, at its best chunk."""
    ranking = select(studied.candidates, knobs.replaced(k=50, score_threshold=0.0))
    documents = studied.labels.documents
    run: dict[str, dict[str, float]] = {}
    for question, ids, columns in zip(
        studied.questions, studied.candidates.ids, ranking.columns.tolist(), strict=True
    ):
        found = dict.fromkeys(documents[ids[column]] for column in columns if column >= 0)
        run[question.id] = {name: float(len(found) - rank) for rank, name in enumerate(found)}
    return run


def trec_judgements(studied: StudyQuestions) -> Judgements:
    """Return question id to document id to 1, of every document that holds what is wanted."""
    labels: Labels = label_by_document(studied.labels)
    return {
        question.id: {labels.documents[id]: 1 for id in facts}
        for question, facts in zip(studied.questions, labels.facts, strict=True)
    }


def write_trec_run(run: TrecRun, file: Path, *, tag: str) -> None:
    """Write a run."""
    lines = (
        f"{_word(question)} Q0 {_word(document)} {rank} {score:g} {_word(tag)}\n"
        for question, documents in run.items()
        for rank, (document, score) in enumerate(_sorted(documents), start=1)
    )
    file.write_text("".join(lines), encoding="utf-8")


def write_judgements(judgements: Judgements, file: Path) -> None:
    """Write judgements."""
    lines = (
        f"{_word(question)} 0 {_word(document)} {gain}\n"
        for question, documents in judgements.items()
        for document, gain in documents.items()
    )
    file.write_text("".join(lines), encoding="utf-8")


def read_trec_run(file: Path) -> TrecRun:
    """Read a run.

    Raises:
        InputError: The file cannot be read, or a line has not six fields.
    """
    run: dict[str, dict[str, float]] = {}
    for question, _, document, _, score, _ in _fields(file, 6):
        run.setdefault(question, {})[document] = _number(file, score)
    return run


def read_judgements(file: Path) -> Judgements:
    """Read judgements.

    Raises:
        InputError: The file cannot be read, or a line has not four fields.
    """
    judged: dict[str, dict[str, int]] = {}
    for question, _, document, gain in _fields(file, 4):
        judged.setdefault(question, {})[document] = int(_number(file, gain))
    return judged


def _sorted(documents: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(documents.items(), key=lambda item: -item[1])


def _fields(file: Path, count: int) -> Iterable[list[str]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {str(file)!r}: {error}.") from error
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if fields and len(fields) != count:
            raise InputError(
                f"{file}:{number}: expected {count} fields, got {len(fields)}.",
                hint="A run has `question Q0 document rank score tag`, judgements have "
                "`question 0 document gain`.",
            )
        if fields:
            yield fields


def _number(file: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{str(file)!r} holds {text!r} where a number is expected.") from error


def _word(text: str) -> str:
    """Fields are divided by spaces: those inside a name are written as underscores."""
    return "_".join(text.split()) or "_"
