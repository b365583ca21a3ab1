from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import dspy
import pytest
from dspy.utils.exceptions import LMError

from ragwright.optimize.contest import halve
from ragwright.optimize.prompts.demonstrations import Bootstrap, Labeled
from ragwright.optimize.prompts.lesson import Lesson
from ragwright.optimize.prompts.optimizers import check_optimizer
from ragwright.optimize.questions.data import Question, Splits
from ragwright.optimize.questions.leakage import check_leakage
from ragwright.optimize.scoring.evaluate import evaluate
from ragwright.optimize.scoring.evaluation import Evaluation, EvaluationRow
from ragwright.optimize.scoring.metrics import build_metric
from ragwright.retrievers.errors import CompileError, InputError

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
    done = evaluate(program, QUESTIONS, "answer_em", threads=threads)
    assert [row.id for row in done.rows] == [question.id for question in QUESTIONS]
    assert done.scores.tolist() == [1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert done.mean == pytest.approx(4 / 12)
    assert done.errors == {"ValueError": 2, "RuntimeError": 1}
    assert done.rows[1].error == "ValueError: no"


def test_when_all_fail_it_is_the_setup_that_is_wrong() -> None:
    program = Parrot(**{f"n{number}": OSError("down") for number in range(12)})
    with pytest.raises(CompileError, match="All 12 questions failed; the first with OSError: down"):
        evaluate(program, QUESTIONS, build_metric("answer_em"))


@pytest.mark.parametrize(
    ("error", "ends"),
    [(OSError("down"), True), (LMError("no key"), True), (IndexError("passages[1]"), False),
     (LMError("maximum context length is 512 tokens"), False), (InputError("no room"), False)],
    ids=str,
)  # fmt: skip
def test_where_others_answered_knobs_that_fail_every_question_are_no_good(
    error: Exception, ends: bool
) -> None:
    program = Parrot(**{f"n{number}": error for number in range(12)})
    if ends:
        with pytest.raises(CompileError):
            evaluate(program, QUESTIONS, "answer_em", proven=True)
    else:
        assert evaluate(program, QUESTIONS, "answer_em", proven=True).mean == 0


def test_a_program_that_always_fails_is_to_blame_itself() -> None:
    program = Parrot(**{f"n{number}": AssertionError("too long") for number in range(12)})
    with pytest.raises(CompileError, match="AssertionError: too long, in the program") as said:
        evaluate(program, QUESTIONS, build_metric("answer_em"))
    assert "rag ask" not in said.value.hint


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


class Straggler(Parrot):
    """Hangs on the questions it is told, until the end of the test."""

    def __init__(self, ends: threading.Event, *hangs: str) -> None:
        super().__init__()
        self.ends, self.hangs = ends, hangs

    def forward(self, question: str) -> dspy.Prediction:
        if question in self.hangs:
            self.ends.wait(120)
        return super().forward(question)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_straggler_does_not_hang_an_evaluation(threads: int) -> None:
    ends = threading.Event()
    program = Straggler(ends, "what is 2?", "what is 11?")
    try:
        started = time.monotonic()
        done = evaluate(program, QUESTIONS, build_metric("answer_em"), threads=threads, timeout=2)
        assert time.monotonic() - started < 60, "it waited for the straggler"
    finally:
        ends.set()
    assert done.errors == {"TimedOut": 2}
    assert done.rows[2].error == "TimedOut: no answer within 2 s"
    assert done.scores.tolist() == [1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]


class Stop(BaseException):
    """A signal, not an error."""


def test_a_signal_ends_an_evaluation_and_begins_no_question_more() -> None:
    program = Parrot(n3=Stop())  # type: ignore[arg-type]
    told: list[int] = []
    with pytest.raises(Stop):
        evaluate(
            program,
            QUESTIONS,
            build_metric("answer_em"),
            threads=1,
            progress=lambda stage, number, of: told.append(number),
        )
    assert told == [1, 2, 3]


def test_rows_go_to_disk_and_come_back(tmp_path: Path) -> None:
    done = evaluate(Parrot(n1=ValueError("no")), QUESTIONS, build_metric("answer_em"))
    done.write(tmp_path / "deep" / "rows.jsonl", checksum=True)
    lines = (tmp_path / "deep" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[1])["error"] == "ValueError: no"
    assert Evaluation.read(tmp_path / "deep" / "rows.jsonl") == done


@pytest.mark.parametrize(
    "damaged",
    [
        lambda data: data[:-9],
        lambda data: data[: data.index(b"\n") + 1],
        lambda data: data.replace(b"1", b"0", 1),
        lambda data: b"\xff" + data,
        lambda data: b"",
        lambda data: data + b"more",
    ],
)
def test_rows_that_are_not_what_was_written_are_not_read(
    tmp_path: Path, damaged: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / "rows.jsonl"
    evaluate(Parrot(), QUESTIONS, build_metric("answer_em")).write(file, checksum=True)
    file.write_bytes(damaged(file.read_bytes()))
    with pytest.raises(ValueError, match=r"is not what was written|can't decode"):
        Evaluation.read(file)


def test_halving_asks_the_weak_little_and_the_best_everything() -> None:
    asked: dict[float, list[int]] = {}

    def judge(entry: float, questions: Sequence[Question]) -> Evaluation:
        asked.setdefault(entry, []).append(len(questions))
        return Evaluation(
            tuple(EvaluationRow(one.id, one.question, (), score=entry) for one in questions)
        )

    questions = [Question(str(number), f"{number}?", ("a",)) for number in range(64)]
    ((best, done),) = halve([0.1, 0.9, 0.3, 0.2, 0.9, 0.0], questions, judge)
    assert (best, len(done.rows)) == (0.9, 64)
    assert asked[0.0] == [8]
    assert asked[0.9][-1] == 64
    assert [entry for entry, _ in halve([0.1, 0.9, 0.3], questions, judge, keep=2)] == [0.9, 0.3]


def test_who_defends_is_only_beaten_on_all_questions() -> None:
    whole = {"first": 0.6, "second": 0.5, "third": 0.4, "fourth": 0.6}

    def judge(entry: str, questions: Sequence[Question]) -> Evaluation:
        score = whole[entry] if len(questions) == 32 else float(entry != "first")
        return Evaluation(
            tuple(EvaluationRow(one.id, one.question, (), score=score) for one in questions)
        )

    questions = [Question(str(number), f"{number}?", ("a",)) for number in range(32)]

    def best(*entries: str, defends: bool = True) -> str:
        ((entry, _),) = halve(entries, questions, judge, defends=defends)
        return entry

    assert best("first", "second", "third", defends=False) == "second"
    assert best("first", "second", "third") == "first"
    assert best("first", "fourth", "second", "third") == "first"
    whole["fourth"] = 0.7
    assert best("first", "fourth", "second", "third") == "fourth"


@pytest.mark.parametrize(("won", "lost", "best"), [(9, 6, "first"), (12, 2, "second")])
def test_who_defends_is_not_beaten_by_luck(won: int, lost: int, best: str) -> None:
    scores = {"first": [0.0] * won + [1.0] * lost, "second": [1.0] * won + [0.0] * lost}

    def judge(entry: str, questions: Sequence[Question]) -> Evaluation:
        return Evaluation(
            tuple(EvaluationRow(one.id, one.question, (), score=scores[entry][int(one.id)])
                  for one in questions)
        )  # fmt: skip

    questions = [Question(str(number), f"{number}?", ("a",)) for number in range(won + lost)]
    ((entry, _),) = halve(["first", "second"], questions, judge, defends=True)
    assert entry == best


def test_needs_are_checked_before_a_call_is_spent() -> None:
    lesson = Lesson(QUESTIONS[:1], QUESTIONS, build_metric("answer_f1"), 1)
    check_optimizer(Labeled(8), lesson)
    with pytest.raises(CompileError, match="Bootstrap needs at least 3 train questions"):
        check_optimizer(Bootstrap(8, 3), lesson)
    citing = Lesson(QUESTIONS, QUESTIONS, build_metric("citation_f1"), 1)
    with pytest.raises(CompileError, match="12 questions have neither"):
        check_optimizer(Labeled(8), citing)


def test_near_duplicates_between_the_sides_are_found() -> None:
    def ask(id: str, text: str) -> Question:
        return Question(id, text, ("a",))

    train = (ask("1", "Which error does the assert statement raise?"),)
    test = (ask("2", "Which error does assert statement raise"), ask("3", "Why is the sky blue?"))
    found = check_leakage(Splits(train, (), test))
    assert found.near_duplicates == (("2", "1"),)
    assert "1 test questions with a near-duplicate" in found.described
    assert found.note(asked=2).startswith("1 of 2 test questions stand in train or dev")
    assert not found.note(asked=100)
    unseen = check_leakage(Splits(train, (), test[1:]))
    assert unseen.described.startswith("none found")
    assert not unseen.note(asked=1)
