"""Does what `rag label` promises: corrects a run's means by what a person says of some answers.

A judge's scores of all test questions and a person's of a few give means that a judge's mistakes
do not shift. Which program gave an answer is not shown. Labels are kept beside the run, one a line,
so that labelling can go on another day.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.markup import escape

from ragwright.artifacts.cli import view
from ragwright.artifacts.cli.terminal import printable
from ragwright.optimize.scoring.labelled import FEWEST, CorrectedMean, correct_mean
from ragwright.retrievers.errors import InputError

LABELS = "labels.jsonl"
REPORT = Path("report") / "report.json"
PROGRAMS = ("baseline", "compiled")
SCORES = {"y": 1.0, "p": 0.5, "n": 0.0}


@dataclass(frozen=True)
class QuestionAnswers:
    """What a run knows of one test question.

    Attributes:
        id: The question's.
        question: What was asked.
        expected: The accepted answers.
        answers: By program.
        scores: The metric's, by program.
    """

    id: str
    question: str
    expected: tuple[str, ...]
    answers: Mapping[str, str]
    scores: Mapping[str, float]


def read_run_answers(run: Path) -> list[QuestionAnswers]:
    """Read the test questions of a run's report.

    Raises:
        InputError: The folder holds no report.
    """
    try:
        table = json.loads((run / REPORT).read_text(encoding="utf-8"))
        return [_judged(row) for row in table["questions"]]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"{str(run)!r} holds no report of a compile.",
            hint="Give a run's folder, such as .rag/runs/20260101T120000-handbook.",
        ) from error


def _judged(row: Mapping[str, Any]) -> QuestionAnswers:
    answers = {name: str(row[name]["answer"]) for name in PROGRAMS}
    scores = {name: float(row[name]["score"]) for name in PROGRAMS}
    if not all(map(math.isfinite, scores.values())):
        raise ValueError("a score is no number")
    expected = tuple(map(str, row["expected"]))
    return QuestionAnswers(str(row["id"]), str(row["question"]), expected, answers, scores)


def read_labels(run: Path) -> dict[tuple[str, str], float]:
    """What a person has said of a run so far, by question and answer; the last word counts."""
    file = run / LABELS
    if not file.exists():
        return {}
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
        return {(row["id"], row["answer"]): float(row["score"]) for row in rows}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"{str(file)!r} is damaged: {error}.", hint="Correct the line, or move the file away."
        ) from error


def corrected_means(
    questions: Sequence[QuestionAnswers], labels: Mapping[tuple[str, str], float]
) -> dict[str, CorrectedMean]:
    """Correct both programs' means and their difference; nothing with too few labels.

    Raises:
        InputError: Fewer questions are labelled than say anything.
    """
    known = np.array(
        [all((one.id, one.answers[name]) in labels for name in PROGRAMS) for one in questions],
        dtype=np.bool_,
    )
    if known.sum() < FEWEST:
        raise InputError(
            f"{int(known.sum())} questions are labelled; {FEWEST} or more say how far the metric "
            "errs.",
            hint="Run the same command again: it goes on where you stopped.",
        )
    judged = {name: np.array([one.scores[name] for one in questions]) for name in PROGRAMS}
    told = {
        name: np.array([labels[one.id, one.answers[name]]
                        for one, there in zip(questions, known, strict=True) if there])
        for name in PROGRAMS
    }  # fmt: skip
    found = {name: correct_mean(judged[name], known, told[name]) for name in PROGRAMS}
    before, after = PROGRAMS
    found["gain"] = correct_mean(judged[after] - judged[before], known, told[after] - told[before])
    return found


def ask_for_labels(
    questions: Sequence[QuestionAnswers], run: Path, *, number: int, seed: int
) -> None:
    """Ask about the answers to so many questions, drawn at random, until a person has had enough.

    What has a label is not asked again.
    """
    rng, labels = np.random.default_rng(seed), read_labels(run)
    drawn = [questions[place] for place in rng.permutation(len(questions))[:number].tolist()]
    for place, one in enumerate(drawn, start=1):
        for name in rng.permutation(PROGRAMS).tolist():
            key = (one.id, one.answers[name])
            if key in labels:
                continue
            said = _said(one, key[1], f"{place} of {len(drawn)}")
            if said == "q":
                return
            if said in SCORES:
                labels[key] = SCORES[said]
                row = {"id": key[0], "answer": key[1], "score": labels[key]}
                with (run / LABELS).open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(row) + "\n")


def _said(one: QuestionAnswers, answer: str, place: str) -> str:
    """Show an answer and return the letter that a person gives it."""
    expected = " | ".join(one.expected)
    for title, text in (("question", one.question), ("expected", expected), ("answer", answer)):
        view.stderr_console().print(
            f"[bold]{title}[/bold] {escape(printable(text))}", soft_wrap=True
        )
    while True:
        try:
            said = typer.prompt(
                f"{place}: right? y(es), p(artly), n(o), s(kip), q(uit)", err=True, default="s"
            )
        except typer.Abort:  # nobody is there to answer, or has had enough
            typer.echo(err=True)
            return "q"
        if said[:1].lower() in {*SCORES, "s", "q"}:
            return str(said[:1].lower())
