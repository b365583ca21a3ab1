"""Which future a split means, and what is told of documents that were seen before."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import dspy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragwright.optimize import joint
from ragwright.optimize.joint import JointOptimizer
from ragwright.optimize.questions.data import (
    Question,
    Splits,
    read_questions,
)
from ragwright.optimize.questions.splitting import SplitBy, split
from ragwright.optimize.scoring.familiarity import gains_by_familiarity, names_seen_document
from ragwright.programs.lm import build_lm
from ragwright.retrievers.errors import CompileError, InputError


def asked(count: int = 60, each: int = 3) -> list[Question]:
    """Questions about documents, some of each; later ones first."""
    return [
        Question(f"q{n}", f"What {n}?", ("a",), (f"d{n // each}",), group=f"d{n // each}",
                 time=f"2026-01-01T00:{count - 1 - n:02d}:00")
        for n in range(count)
    ]  # fmt: skip


def halves(questions: list[Question], by: SplitBy, seed: int = 0) -> Splits:
    return split(questions, train=0.35, dev=0.2, seed=seed, by=by)


@given(st.sampled_from(["document", "question", "time"]), st.integers(0, 20))
def test_every_question_is_on_one_side_and_sides_have_their_shares(by: SplitBy, seed: int) -> None:
    questions = asked()
    found = halves(questions, by, seed)
    sides = [*found.train, *found.dev, *found.test]
    assert sorted(one.id for one in sides) == sorted(one.id for one in questions)
    assert abs(len(found.train) - 21) <= 3
    assert abs(len(found.dev) - 12) <= 3


def test_by_document_test_is_unseen_and_by_question_it_comes_back() -> None:
    assert not names_seen_document(halves(asked(), "document")).any()
    again = halves(asked(), "question")
    assert names_seen_document(again).mean() > 0.5
    # Questions of one document still rise and fall together: they keep their group.
    assert {one.group for one in again.test} <= {f"d{n}" for n in range(20)}
    assert again.shared_groups > 0


def given_as(questions: list[Question]) -> list[dspy.Example]:
    return [
        dspy.Example(id=one.id, question=one.question, answer="a", documents=list(one.documents),
                     group=one.group, time=one.time).with_inputs("question")
        for one in questions
    ]  # fmt: skip


def python_splits(
    by: SplitBy, trainset: list[Question], valset: list[Question] | None = None
) -> Splits:
    optimizer = JointOptimizer(metric="answer_em", lm=build_lm("extractive"), split=by)
    chosen = optimizer._recipe(dspy.Predict("question -> answer"))
    given = given_as(valset) if valset else None
    return joint._splits(chosen, given_as(trainset), given, None)


@pytest.mark.parametrize("by", ["document", "question", "time"])
def test_examples_are_dealt_out_as_recipes_do(by: SplitBy) -> None:
    found = python_splits(by, asked())
    plain = split(asked(), train=0.4, dev=0.2, seed=0, by=by)
    sides = [[one.id for one in side] for side in (found.train, found.dev, found.test)]
    assert sides == [[one.id for one in side] for side in (plain.train, plain.dev, plain.test)]


def test_by_time_the_latest_of_what_is_not_given_are_test() -> None:
    early, late = asked(20), [replace(one, id=f"v{one.id}") for one in asked(20)]
    found = python_splits("time", early, late)
    assert {one.id for one in found.dev} == {one.id for one in late}
    assert max(one.time for one in found.train) < min(one.time for one in found.test)
    assert len(found.train) == pytest.approx(20 * 0.4 / 0.8, abs=1)


def test_questions_of_several_files_that_are_counted_alike_stay_apart() -> None:
    """What is asked of stages, labels and evaluations are kept by a question's id."""
    counted = [replace(one, id=str(place)) for place, one in enumerate(asked(20))]
    other = [replace(one, question=f"And {one.question}") for one in counted]
    found = python_splits("document", counted, other)
    everyone = (*found.train, *found.dev, *found.test)
    assert len({one.id for one in everyone}) == len(everyone) == 40
    assert all(one.example is not None and one.example.id == one.id for one in everyone)
    assert all(one.example and set(one.example.inputs().keys()) == {"question"} for one in everyone)
    assert {one.id for one in found.train} <= {one.id for one in counted}


def test_by_time_the_latest_are_test() -> None:
    found = halves(asked(), "time")
    train, dev, test = ([one.time for one in side] for side in (found.train, found.dev, found.test))
    assert max(train) < min(dev)
    assert max(dev) < min(test)
    seconds = [replace(one, time=str(100 - n)) for n, one in enumerate(asked())]
    assert {one.id for one in halves(seconds, "time").test} == {f"q{n}" for n in range(27)}


@pytest.mark.parametrize("time", ["", "yesterday", "nan", "-inf"])
def test_a_split_by_time_needs_times(time: str) -> None:
    questions = [replace(one, time=time) for one in asked()]
    with pytest.raises(InputError, match="no time to split by"):
        halves(questions, "time")


def test_a_time_is_read_and_belongs_to_the_training_set(tmp_path: Path) -> None:
    def written(time: object) -> str:
        line = {"question": "What?", "answer": "a", "time": time}
        (tmp_path / "set.jsonl").write_text(json.dumps(line), encoding="utf-8")
        return read_questions(tmp_path / "set.jsonl").fingerprint

    assert written("2026-01-01") != written(1767225600)
    assert read_questions(tmp_path / "set.jsonl").questions[0].time == "1767225600"


def test_seen_and_unseen_documents_are_told_apart() -> None:
    questions = asked(12, each=1)
    splits = Splits(
        tuple(questions[:4]), tuple(questions[4:6]), tuple(questions[:3] + questions[6:])
    )
    before = np.zeros(9)
    after = np.array([1.0] * 3 + [0.0] * 5 + [-0.5])
    seen, unseen = gains_by_familiarity(splits, before, after)
    assert (seen.name, seen.n, seen.compiled, unseen.name, unseen.n) == ("seen", 3, 1, "unseen", 6)
    assert seen.gain is not None
    assert unseen.gain is not None
    assert (seen.gain.wins, unseen.gain.losses) == (3, 1)
    fresh = Splits(tuple(questions[:4]), (), tuple(questions[4:]))
    none, all_ = gains_by_familiarity(fresh, np.zeros(8), np.ones(8))
    assert (none.n, none.gain, all_.n) == (0, None, 8)
    bare = Splits((), (), (replace(questions[0], documents=()),))
    assert gains_by_familiarity(bare, np.zeros(1), np.ones(1)) == ()


def default(questions: list[Question], by: SplitBy = "document", seed: int = 0) -> Splits:
    return split(questions, train=0.4, dev=0.2, seed=seed, by=by)


@pytest.mark.parametrize("by", ["document", "question", "time"])
@pytest.mark.parametrize(("count", "each"), [(36, 1), (40, 1), (40, 5), (44, 4), (48, 6), (60, 10)])
def test_few_questions_leave_every_side_what_it_needs_where_the_recipe_names_no_shares(
    by: SplitBy, count: int, each: int
) -> None:
    found = default(asked(count, each), by)
    assert len(found.train) >= 8
    assert len(found.dev) >= 8
    assert len(found.test) >= 20
    if by == "document":
        assert not found.shared_groups


def test_shares_that_a_recipe_names_are_kept() -> None:
    with pytest.raises(CompileError, match="Too few test questions"):
        split(asked(40, 1), train=0.5, dev=0.2, seed=0, by="question")


@pytest.mark.parametrize(
    ("questions", "advice"),
    [
        (asked(30, 1), "needs 36 questions .8 train, 8 dev, 20 test., and there are 30"),
        (asked(40, 40), 'split = "question"'),
    ],
)
def test_too_few_questions_are_told_what_to_do(questions: list[Question], advice: str) -> None:
    with pytest.raises(CompileError) as told:
        default(questions)
    assert re.search(advice, told.value.hint)
