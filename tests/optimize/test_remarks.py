"""What is told of a training set's answers before they are compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragwright.optimize.questions.data import Question, TrainingSet, read_questions
from ragwright.optimize.questions.remarks import one_answer, remarks_on, says_nothing


def asked(*answers: tuple[str, ...]) -> TrainingSet:
    return TrainingSet(tuple(Question(f"{n}", f"What is {n}?", a) for n, a in enumerate(answers)))


@pytest.mark.parametrize(
    "answer",
    [
        "N/A", "n.a.", "Not in the documents.", "It is not mentioned in the provided context",
        "The documents do not say who did.", "Cannot be answered from the text", "I do not know",
        "No answer found", "not enough information", "Keine Angabe", "unanswerable",
    ],
)  # fmt: skip
def test_answers_that_say_there_is_none_are_known(answer: str) -> None:
    assert says_nothing(answer)


@pytest.mark.parametrize(
    "answer", ["No", "none", "not in Rome", "1889", "knowledge", "not guilty", "a document", "Na"]
)
def test_answers_that_say_something_are_none_of_them(answer: str) -> None:
    assert not says_nothing(answer)


def test_what_abstains_in_other_words_than_the_answers_is_told() -> None:
    (note,) = remarks_on(asked(("N/A",), ("1889",), ("n/a", "I don't know")), "answer_f1")
    assert note.startswith("1 of 3 questions want")
    assert "'N/A'" in note
    assert not remarks_on(asked(("N/A",)), "my_app:judge")
    assert not remarks_on(asked(("N/A",), *[("1889",)] * 60), "answer_f1")


def test_long_answers_are_told_where_words_are_compared() -> None:
    long = asked(*[("word " * 80,)] * 3)
    (note,) = remarks_on(long, "0.5*answer_f1 + 0.5*citation_f1")
    assert "80 words" in note
    assert not remarks_on(long, "semantic_f1")


def test_an_answer_that_is_often_right_is_told_with_how_often() -> None:
    few = [("Yes.",)] * 2 + [(f"{n}", "twice", "Twice!") for n in range(2)] + [("No",)] * 3
    assert "'No' alone, said to every question, is right for 3 of 7 (0.429" in one_answer(
        asked(*few).questions
    )
    assert one_answer(asked(*[(f"{n}",) for n in range(9)]).questions) == ""
    assert one_answer(()) == ""


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (({"answer": "1889"}, {"answer": "in 1889"}), 0),
        (({"answer": "3 days"}, {"answer": "30 days"}), 1),
        (({"answer": "a b"}, {"answer": "c"}, {"answer": "d"}), 1),
        (({"answer": "yes"}, {"documents": ["one.md"]}), 0),
    ],
)
def test_rows_that_answer_one_question_otherwise_are_told(
    tmp_path: Path, rows: tuple[dict[str, object], ...], count: int
) -> None:
    lines = [json.dumps({"question": "And what about it?", **row}) for row in rows]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    found = read_questions(tmp_path / "q.jsonl", answered=False)
    assert (len(found.disagreeing), found.duplicates) == (count, len(rows) - 1)
    assert len(remarks_on(found, "answer_f1")) == count
