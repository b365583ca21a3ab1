from __future__ import annotations

import dspy
import pytest

from optimize.budget import Meter
from optimize.data import Question, Splits
from optimize.evaluate import evaluate
from optimize.leakage import check_leakage
from optimize.metrics import build_metric
from optimize.optimizers import Bootstrap, Labeled, Lesson, check
from retrievers.errors import CompileError

QUESTIONS = [Question(str(number), f"what is {number}?", (str(number),)) for number in range(12)]


class Parrot(dspy.Module):
    """Answers with the number it is asked about, and fails where it is told to."""

    def __init__(self, **failures: Exception) -> None:
        super().__init__()
        self.failures = failures

    def forward(self, question: str) -> dspy.Prediction:
        number = question.rsplit(maxsplit=1)[-1].rstrip("?")
        if f"n{number}" in self.failures:
            raise self.failures[f"n{number}"]
        return dspy.Prediction(answer=number if int(number) < 6 else "wrong")


@pytest.mark.parametrize("threads", [1, 4])
def test_failures_count_as_nothing_and_are_kept(threads: int) -> None:
    program = Parrot(n1=ValueError("no\nmore"), n2=ValueError("x"), n7=RuntimeError(""))
    done = evaluate(program, QUESTIONS, build_metric("answer_em"), threads=threads)
    assert [row.id for row in done.rows] == [question.id for question in QUESTIONS]
    assert done.scores.tolist() == [1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert done.mean == pytest.approx(4 / 12)
    assert done.errors == {"ValueError": 2, "RuntimeError": 1}
    assert done.rows[1].error == "ValueError: no"


def test_when_all_fail_it_is_the_setup_that_is_wrong() -> None:
    program = Parrot(**{f"n{number}": OSError("down") for number in range(12)})
    with pytest.raises(CompileError, match="All 12 questions failed; the first with OSError: down"):
        evaluate(program, QUESTIONS, build_metric("answer_em"))


def test_progress_counts_every_question_once() -> None:
    told: list[tuple[str, int, int]] = []
    evaluate(
        Parrot(),
        QUESTIONS,
        build_metric("answer_em"),
        stage="dev",
        progress=lambda *x: told.append(x),
    )
    assert sorted(told) == [("dev", number, 12) for number in range(1, 13)]


def test_a_stage_that_spends_nothing_is_listed_too() -> None:
    meter = Meter()
    with meter.stage("idle"):
        pass
    (spend,) = meter.stages
    assert (spend.stage, spend.calls, spend.prompt_tokens) == ("idle", 0, 0)


def test_needs_are_checked_before_a_call_is_spent() -> None:
    lesson = Lesson(QUESTIONS[:1], QUESTIONS, build_metric("answer_f1"), 1)
    check(Labeled(8), lesson)
    with pytest.raises(CompileError, match="Bootstrap needs at least 3 train questions"):
        check(Bootstrap(8, 3), lesson)
    citing = Lesson(QUESTIONS, QUESTIONS, build_metric("citation_f1"), 1)
    with pytest.raises(CompileError, match="12 questions have neither"):
        check(Labeled(8), citing)


def test_near_duplicates_between_the_sides_are_found() -> None:
    def ask(id: str, text: str) -> Question:
        return Question(id, text, ("a",))

    train = (ask("1", "Which error does the assert statement raise?"),)
    test = (ask("2", "Which error does assert statement raise"), ask("3", "Why is the sky blue?"))
    found = check_leakage(Splits(train, (), test))
    assert found.near_duplicates == (("2", "1"),)
    assert "1 test questions with a near-duplicate" in found.described
    assert check_leakage(Splits(train, (), test[1:])).described.startswith("none found")
