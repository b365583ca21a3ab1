from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from pydantic import BaseModel

from ragwright.optimize.questions.data import (
    Question,
    Side,
    TrainingSet,
    from_examples,
    read_questions,
    to_examples,
)
from ragwright.optimize.questions.remarks import left_out
from ragwright.optimize.questions.splitting import split
from ragwright.retrievers.errors import CompileError, InputError


def write(path: Path, *rows: Any) -> Path:
    file = path / "questions.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def questions(groups: int, each: int) -> list[Question]:
    return [
        Question(f"{group}-{number}", f"q {group} {number}", ("a",), group=f"g{group}")
        for group in range(groups)
        for number in range(each)
    ]


def test_a_line_has_one_answer_or_several_and_one_document_or_several(tmp_path: Path) -> None:
    first, second = read_questions(
        write(
            tmp_path,
            {"question": "Who?", "answer": "Ada", "document": "d1", "evidence": "Ada did."},
            {"id": 7, "question": " When? ", "answers": ["1843", "in 1843", "1843"],
             "documents": ["d2", "d3"], "group": "g"},
        )
    ).questions  # fmt: skip
    assert (first.answers, first.documents, first.evidence) == (("Ada",), ("d1",), ("Ada did.",))
    assert first.group == "d1"
    assert (second.id, second.question, second.answers) == ("7", "When?", ("1843", "in 1843"))
    assert (second.documents, second.group) == (("d2", "d3"), "g")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "a row is an object"),
        ('{"question": "q", "answer": "a", "anwser": "b"}', "anwser"),
        ('{"question": "q"}', "the question has no answer"),
        ('{"question": "q", "answers": [" "]}', "the question has no answer"),
        ('{"question": " ", "answer": "a"}', "the question is empty"),
        ('{"question": "q", "answer": "a", "split": "valid"}', "split"),
        ('{"question": "q", "answer": "a", "history": [1]}', "stand alone"),
        ('{"data": [{"paragraphs": ["text"]}]}', "question"),
        ('{"data": [{"paragraphs": [{"qas": ["Who?"]}]}]}', "question"),
        ('{"data": [{"paragraphs": 3}]}', "question"),
        ('{"data": [[1]], "columns": [{}]}', "a row is an object"),
        ('{"queries": {"1": "Who?"}, "relevant_docs": ["d"]}', "question"),
        ('{"queries": {"1": "Who?"}, "relevant_docs": {"1": [["d"]]}, "corpus": {}}', "documents"),
        ('{"question": "Who?", "_names": 3}', "the question has no answer"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str, says: str) -> None:
    file = write(tmp_path, {"question": "Fine?", "answer": "yes"}, line, {"question": "x"})
    with pytest.raises(InputError) as caught:
        read_questions(file)
    assert f"{file}:2: " in str(caught.value)
    assert says in str(caught.value)


def test_an_id_may_stand_only_once(tmp_path: Path) -> None:
    file = write(tmp_path, *({"id": "x", "question": q, "answer": "a"} for q in ("one", "two")))
    with pytest.raises(InputError, match=r":2: the id 'x' stands on line 1 too"):
        read_questions(file)


def test_repeated_questions_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"question": text, "answer": "a"} for text in ("Who is it?", "who  is it?", "Why?")]
    found = read_questions(write(tmp_path, *rows))
    assert [question.question for question in found.questions] == ["Who is it?", "Why?"]
    assert found.duplicates == 1


def test_a_missing_or_empty_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot read the training set"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match=r"holds no question\."):
        read_questions(write(tmp_path))
    row = '{"question": "Who?", "answer": ""}'
    with pytest.raises(InputError, match="no question with an answer: nothing answers its 1"):
        read_questions(write(tmp_path, row))


@pytest.mark.parametrize("key", ["answer", "answers"])
@pytest.mark.parametrize("value", ["", None, [], math.nan])
def test_a_question_whose_answer_is_empty_is_one_that_nothing_answers(
    tmp_path: Path, key: str, value: object
) -> None:
    some: dict[str, object] = {"question": "Who?", key: value}
    rows = [some, {"question": "Why?", "answer": "x"}, {"question": "How?", "unanswerable": True}]
    found = read_questions(write(tmp_path, *rows))
    assert (len(found.questions), found.unanswerable) == (1, 2)
    assert left_out(found) == ["2 of 3 questions are left out: nothing answers them."]
    with pytest.raises(InputError, match="the question has no answer"):
        read_questions(write(tmp_path, {**some, "documents": ["a.md"]}))


def test_the_fingerprint_depends_on_every_question() -> None:
    some = tuple(questions(2, 2))
    assert TrainingSet(some).fingerprint == TrainingSet(tuple(questions(2, 2))).fingerprint
    assert TrainingSet(some).fingerprint != TrainingSet(some[:-1]).fingerprint


def test_splits_take_whole_groups_and_about_the_shares_asked_for() -> None:
    splits = split(questions(40, 5), train=0.4, dev=0.2, seed=3)
    sides = (splits.train, splits.dev, splits.test)
    groups = [{question.group for question in side} for side in sides]
    assert [len(side) for side in sides] == [80, 40, 80]
    assert not groups[0] & groups[1]
    assert not (groups[0] | groups[1]) & groups[2]
    assert splits.shared_groups == 0


def test_a_split_is_the_same_every_time_and_differs_between_seeds() -> None:
    pool = questions(40, 5)
    assert split(pool, train=0.4, dev=0.2, seed=3) == split(pool, train=0.4, dev=0.2, seed=3)
    assert split(pool, train=0.4, dev=0.2, seed=3) != split(pool, train=0.4, dev=0.2, seed=4)


def test_given_sides_are_kept_and_groups_on_two_of_them_counted() -> None:
    pool = questions(1, 60)
    sides: list[Side] = ["train" if n < 20 else "dev" if n < 30 else "test" for n in range(60)]
    given = [replace(question, split=side) for question, side in zip(pool, sides, strict=True)]
    splits = split(given, train=0.1, dev=0.1, seed=0)
    assert [len(side) for side in (splits.train, splits.dev, splits.test)] == [20, 10, 30]
    assert splits.shared_groups == 2
    with pytest.raises(InputError, match="30 of 60 questions have a split"):
        split(given[:30] + pool[30:], train=0.1, dev=0.1, seed=0)


def test_too_few_questions_on_a_side_are_refused() -> None:
    with pytest.raises(CompileError, match="Too few test questions: 10, at least 20"):
        split(questions(50, 1), train=0.6, dev=0.2, seed=0)


def test_examples_carry_the_gold_and_ask_only_the_question() -> None:
    gold = Question("1", "q?", ("a", "b"), ("d",), ("e",))
    (example,) = to_examples([gold])
    assert example.inputs().toDict() == {"question": "q?"}
    assert (example.answer, example.answers, example.documents) == ("a", ["a", "b"], ["d"])


class Colour(BaseModel):
    name: str


def test_the_values_of_examples_stay_what_they_are() -> None:
    history = dspy.History(messages=[{"question": "hi", "answer": "ho"}])
    thing = object()
    given = dspy.Example(
        question="which?", history=history, colours=[Colour(name="red")], answer="red", thing=thing
    ).with_inputs("question", "history", "colours")
    (question,) = from_examples([given])
    (example,) = to_examples([question])
    assert example.history is history
    assert example.colours == [Colour(name="red")]
    assert example.thing is thing
    assert " at 0x" not in question.content


def test_missing_values_of_examples_are_as_if_they_were_not_there() -> None:
    names = ("id", "group", "documents", "evidence", "split", "time")
    bare = dspy.Example(question="which?", answer="red").with_inputs("question")
    (plain,) = from_examples([bare])
    for missing in (None, float("nan")):  # the latter is an empty cell of a data frame
        given = bare.copy(**dict.fromkeys(names, missing)).with_inputs("question")
        (question,) = from_examples([given])
        assert question == plain
        assert question.example is not None
        assert question.example.id == plain.id


def test_examples_that_hold_sets_are_the_same_in_every_process() -> None:
    names = frozenset({"beta", "alpha", "gamma", "delta"})
    given = dspy.Example(question="which?", tags={"a": [names]}, answer="red", documents=names)
    (question,) = from_examples([given.with_inputs("question", "tags")])
    assert question.documents == ("alpha", "beta", "delta", "gamma")
    assert question.group == "alpha"
    assert "['alpha', 'beta', 'delta', 'gamma']" in question.content
    (listed,) = from_examples([dspy.Example(question="q", documents=np.array(["b", "a"]))
                               .with_inputs("question")])  # fmt: skip
    assert listed.documents == ("b", "a")


def test_a_side_that_there_is_not_is_refused() -> None:
    asked = dspy.Example(question="which?", answer="red", split="holdout").with_inputs("question")
    with pytest.raises(InputError, match="holdout"):
        from_examples([asked])


def test_halves_of_pairs_are_replaced_since_no_model_can_be_sent_them(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text('{"question": "Which \\ud800 is it?", "answers": ["a\\udfff"]}\n')
    (question,) = read_questions(file).questions
    assert (question.question, question.answers) == ("Which \ufffd is it?", ("a\ufffd",))
    file.write_text('{"question": "\\u00fc", "answer": ' + "[" * 900 + "]" * 900 + "}\n")
    with pytest.raises(InputError):
        read_questions(file)


def test_counting_begins_at_0_too(tmp_path: Path) -> None:
    rows = [{"id": n, "question": f"q{n}", "answer": 0, "document": f"d{n}", "group": n // 2,
             "time": n} for n in range(4)]  # fmt: skip
    read = read_questions(write(tmp_path, *rows)).questions
    given = from_examples([dspy.Example(**row).with_inputs("question") for row in rows])
    for found in (read, given):
        assert [one.id for one in found] == ["0", "1", "2", "3"]
        assert [one.group for one in found] == ["0", "0", "1", "1"]
        assert [one.time for one in found] == ["0", "1", "2", "3"]
        assert {one.answers for one in found} == {("0",)}
