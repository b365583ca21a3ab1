"""Further cycles of prompts and retrieval, and test questions that are answered several times."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragwright.optimize import compile_program, estimate_compile
from ragwright.optimize.cycles import CycleOutcome, run_cycles
from ragwright.optimize.scoring.evaluation import Evaluation, EvaluationRow, average_evaluations
from ragwright.optimize.setting import Setting
from ragwright.optimize.summary import KnobSearch
from ragwright.programs.knobs import KnobValues
from ragwright.programs.lm import build_lm, may_vary
from tests.servers.scripted_lm import Call

from .conftest import recipe
from .scripted import Writing, lm_of, small

HERE = {"optimizer": "copro", "options": {"breadth": 2, "depth": 1}, "retrieval_trials": 0,
        "shortlist": 1, "threads": 4}  # fmt: skip


def setting(k: int) -> Setting:
    return Setting.of({"search": KnobValues(k=k)})


def joined(entry: int, tuned: int, mean: float) -> CycleOutcome:
    return CycleOutcome(
        setting(entry), {}, setting(tuned), KnobSearch(setting(tuned), {}, True), mean
    )


def test_cycles_go_on_while_dev_gets_better_and_something_is_left_to_follow() -> None:
    further = {2: joined(2, 3, 0.6), 3: joined(3, 4, 0.55), 4: joined(4, 5, 0.9)}
    best, told = run_cycles(joined(1, 2, 0.5), lambda number, _: further[number], most=9)
    assert best is further[2]
    assert [("kept" in one, "dropped" in one) for one in told] == [(True, False), (False, True)]
    best, told = run_cycles(joined(1, 1, 0.5), lambda *_: pytest.fail("nothing to follow"), most=2)
    assert best.mean == 0.5
    assert "fit each other" in told[0]
    assert run_cycles(joined(1, 2, 0.5), lambda *_: None, most=3) == (joined(1, 2, 0.5), ())


@pytest.mark.parametrize("count", [2, 3])
def test_the_mean_of_runs_counts_and_their_noise_is_known(count: int) -> None:
    runs = [
        Evaluation(tuple(EvaluationRow(str(n), "q", ("a",), score=float((n + run) % 2), seconds=run)
                         for n in range(5)))
        for run in range(count)
    ]  # fmt: skip
    done = average_evaluations(runs)
    assert done.repeats == count
    assert done.mean == pytest.approx(sum(run.mean for run in runs) / count)
    assert done.noise > 0
    assert average_evaluations(runs[:1]) is runs[0]
    assert runs[0].noise == 0


def test_what_answers_alike_each_time_is_asked_once() -> None:
    assert not may_vary(build_lm("extractive"))
    assert not may_vary(build_lm("openai/gpt", temperature=0.0))
    assert may_vary(build_lm("openai/gpt", temperature=0.7))
    assert may_vary(build_lm("openai/gpt"))


class Fickle(Writing):
    """Right every other time that it was told how, also where it is asked the very same again."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = itertools.count()

    def _value(self, name: str, call: Call) -> object:
        if name == "answer" and self._knows(call) and next(self._asked) % 3 == 0:
            return "I cannot remember"
        return super()._value(name, call)


@pytest.fixture
def fickle() -> Iterator[Fickle]:
    with Fickle() as running:
        yield running


@pytest.mark.slow
def test_a_compile_repeats_its_test_and_goes_through_cycles(
    fickle: Fickle, world: Path, tmp_path: Path
) -> None:
    lm = lm_of(fickle, temperature=0.7)
    wanted = recipe(world, compile={**HERE, "repeats": 2, "cycles": 2})
    result = compile_program(wanted, small(world), lm=lm, run_dir=tmp_path)
    assert {done.repeats for done in result.test.values()} == {2}
    assert {done.repeats for done in result.dev.values()} == {1}
    assert all(len(row.runs) == 2 for row in result.test["prompts only"].rows)
    assert any("answered 2 times" in note for note in result.notes)
    assert any(note.startswith("Cycle 2") for note in result.notes)
    spent = {stage.stage: stage.calls for stage in result.spend}
    assert spent["test"] >= 2 * 20
    assert sum(spent.values()) == len(fickle.calls)


@pytest.mark.slow
def test_repeats_and_cycles_are_part_of_the_estimate(
    server: Writing, world: Path, tmp_path: Path
) -> None:
    plain, more = (
        {need.stage: need.questions
         for need in estimate_compile(recipe(world, compile={**HERE, **keys}), small(world),
                                      lm=lm_of(server, temperature=0.7)).needs}
        for keys in ({}, {"repeats": 3, "cycles": 2})
    )  # fmt: skip
    assert more["test"] == 3 * plain["test"]
    assert more["prompts"] == 2 * plain["prompts"]
