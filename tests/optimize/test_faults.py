"""A language model that fails during a whole compile: it ends, and every failure is told."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from ragwright.optimize import Caps, Run, compile_program
from ragwright.optimize.accounts import CALLS
from ragwright.optimize.plain_replies import FEW, FIRST
from ragwright.optimize.scoring.evaluation import Evaluation
from tests.servers.scripted_lm import Call, Fault

from .conftest import recipe
from .scripted import Writing, lm_of, small
from .test_optimizers import wanted

pytestmark = pytest.mark.slow


class Faulty(Writing):
    """Fails whenever it is asked certain questions, each in its own way."""

    faults: Mapping[str, Fault] = {}

    def arrived(self, call: Call) -> Fault | None:
        fault = super().arrived(call)
        return fault or self.faults.get(call.fields.get("question", ""))


class FaultyOnceTaught(Faulty):
    """Fails only where a program that was shown examples wants something else than an answer."""

    def arrived(self, call: Call) -> Fault | None:
        fault = super().arrived(call)
        return fault if self._knows(call) and "answer" not in call.wanted else None


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    with Faulty(slow_seconds=0.2) as server:
        yield server


def test_a_compile_ends_where_calls_hang_break_off_or_are_slow(
    faulty: Faulty, world: Path, tmp_path: Path
) -> None:
    questions = small(world)
    texts = [question.question for question in questions.questions]
    cap = 170
    run = Run(tmp_path / "run", caps=Caps(calls=cap))
    faulty.faults = {texts[0]: "half", texts[1]: "slow", texts[10]: "hang", texts[11]: "half",
                     texts[12]: "slow", texts[20]: "half", texts[21]: "slow"}  # fmt: skip
    lm = lm_of(faulty, num_retries=0, timeout=4)
    result = compile_program(wanted(world, "bootstrap-random-search"), questions, lm=lm, run=run)
    assert sum(stage.calls for stage in result.spend) == len(faulty.calls) <= cap
    assert result.stopped
    judged = [Evaluation.read(file) for file in (tmp_path / "run" / "evaluations").iterdir()]
    # The socket and the head of the reply have the same time: either may be the first to say so.
    said = {texts[10]: r"timed out|not whole after 4 s", texts[11]: "bytes outstanding",
            texts[20]: "bytes outstanding"}  # fmt: skip
    failing = {
        FIRST: {texts[10], texts[11]},
        FEW: {texts[10], texts[11]},
        10: {texts[10], texts[11]},
        20: {texts[20]},
    }
    assert {len(done.rows) for done in judged} == failing.keys()
    for done in judged:
        failed = [row for row in done.rows if row.error]
        assert {row.question for row in failed} == failing[len(done.rows)]
        assert all(re.search(said[row.question], row.error) for row in failed)
        assert [row.score for row in failed] == [0] * len(failed)


@pytest.mark.parametrize("fault", ["429", "half"])
def test_where_no_query_can_be_written_for_a_question_it_counts_as_failed(
    faulty: Faulty, world: Path, tmp_path: Path, fault: Fault
) -> None:
    section = {"optimizer": "labeled", "retrieval_trials": 0, "shortlist": 1}
    writing = recipe(world, compile=section, program={"kind": "hybrid", "expansion": "hyde"})
    questions = small(world)
    failing = questions.questions[12]
    faulty.faults = {failing.question: fault}
    lm = lm_of(faulty, num_retries=0)
    result = compile_program(writing, questions, lm=lm, run=Run(tmp_path / "run"))
    failed = [row.id for row in result.dev["baseline"].rows if row.error]
    assert failed == [failing.id]
    assert sum(stage.calls for stage in result.spend) == len(faulty.calls)


def test_where_a_query_can_not_be_read_the_question_is_searched_for_as_it_is(
    world: Path, tmp_path: Path
) -> None:
    section = {"optimizer": "bootstrap", "retrieval_trials": 0, "shortlist": 1, "finalists": 2}
    writing = recipe(world, compile=section, program={"kind": "hybrid", "expansion": "hyde"})
    questions, run = small(world), tmp_path / "run"
    with FaultyOnceTaught() as server:
        server.faults = {questions.questions[12].question: "garbage"}
        lm = lm_of(server, num_retries=0)
        result = compile_program(writing, questions, lm=lm, run=Run(run))
        with closing(sqlite3.connect(run / CALLS)) as ledger:
            unread = "SELECT DISTINCT stage FROM calls JOIN marks USING (number)"
            assert ("prompts",) in ledger.execute(unread).fetchall()
        assert sum(stage.calls for stage in result.spend) == len(server.calls)


def test_where_no_answer_can_be_read_every_answer_counts_0_and_the_replies_are_kept(
    faulty: Faulty, world: Path, tmp_path: Path
) -> None:
    section, questions = wanted(world, "labeled"), small(world)
    lm = lm_of(faulty, num_retries=0)
    faulty.fail("garbage")
    result = compile_program(section, questions, lm=lm, run=Run(tmp_path / "run"))
    assert result.verdict != "ship"
    assert {done.mean for done in (*result.dev.values(), *result.test.values())} == {0.0}
    assert set(result.baseline.unreadable) == {"%% !! @@"}
    assert len(result.baseline.unreadable) == len(result.baseline.rows)
    assert sum(stage.calls for stage in result.spend) == len(faulty.calls)


def test_an_answer_that_could_not_be_read_is_met_again_by_its_own_run_alone(
    faulty: Faulty, world: Path, tmp_path: Path
) -> None:
    section, questions = wanted(world, "labeled"), small(world)
    failing = questions.questions[10].question
    faulty.faults = {failing: "garbage"}
    lm, calls = lm_of(faulty, num_retries=0), tmp_path / "calls.sqlite"
    first = compile_program(section, questions, lm=lm, run=Run(tmp_path / "first", calls=calls))
    assert {str(dict(done.errors)) for done in first.dev.values()} == {"{'AdapterParseError': 1}"}
    asked, faulty.faults = len(faulty.calls), {}
    shutil.rmtree(tmp_path / "first" / "evaluations")
    again = Run(tmp_path / "first", calls=calls, resume=True)
    resumed = compile_program(section, questions, lm=lm, run=again)
    assert len(faulty.calls) == asked
    assert resumed.program.dump_state() == first.program.dump_state()
    assert [done.errors for done in resumed.dev.values()] == [
        done.errors for done in first.dev.values()
    ]
    other = compile_program(section, questions, lm=lm, run=Run(tmp_path / "other", calls=calls))
    assert {call.fields["question"] for call in faulty.calls[asked:]} == {failing}
    assert not any(done.errors for done in other.dev.values())
