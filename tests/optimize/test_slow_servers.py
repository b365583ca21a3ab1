"""Servers on small machines: slow, of one slot, away for a while. No question is lost to that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ragwright.artifacts.cli.actions import ReadyProgram, evaluate_program, pace_of
from ragwright.artifacts.cli.making import QuestionBatch, QuestionRequest, make_questions
from ragwright.optimize import Caps, CompileResult, Evaluation, Run, compile_program
from ragwright.optimize.pace import LONGER
from ragwright.optimize.questions import writing
from ragwright.optimize.spending import estimate, patience
from ragwright.programs.build import build_program
from ragwright.retrievers.errors import CompileError, ModelError
from tests.servers.scripted_lm import Call, Fault
from tests.servers.slow_lm import SlowLM

from .conftest import recipe
from .scripted import lm_of, small

FAST, SLOW = 0.02, 1.2
TIMEOUT = 1.0
"""Seconds: too few for one slow call, and enough, four times as many, for several."""
SECTION = {"optimizer": "labeled", "retrieval_trials": 0, "shortlist": 1, "threads": 4}


@dataclass
class Failing(SlowLM):
    """Goes away after so many calls, and comes back after so many seconds, if at all.

    Is slow for so many calls and fast from then on, where that is given.
    """

    after: int = -1
    back: float = 0.0
    how: str = "down"
    slow: int = -1

    def arrived(self, call: Call) -> Fault | None:
        fault = super().arrived(call)
        if len(self.calls) == self.slow:
            self.seconds = FAST
        if len(self.calls) == self.after:
            setattr(self, self.how, True)
            if self.back:
                threading.Timer(self.back, setattr, (self, self.how, False)).start()
        return fault


@pytest.fixture
def server() -> Iterator[Failing]:
    with Failing() as running:
        yield running


def compiled(server: SlowLM, world: Path, run: Run, **section: Any) -> CompileResult:
    wanted = recipe(world, compile=SECTION | section)
    return compile_program(wanted, small(world, 8, 8, 20), lm=lm_of(server), run=run)


def evaluated(server: SlowLM, world: Path, **section: Any) -> Evaluation:
    """As `rag evaluate` does it."""
    wanted, lm = recipe(world, compile=SECTION | section), lm_of(server)
    ready = ReadyProgram(build_program(wanted, lm=lm), wanted)
    return evaluate_program(
        ready, small(world).questions, pace=pace_of(ready, 4), progress=lambda *_: None
    )


def failures(result: CompileResult | Evaluation) -> list[str]:
    if isinstance(result, CompileResult):
        done = (*result.dev.values(), *result.test.values())
    else:
        done = (result,)
    return [row.error for one in done for row in one.rows if row.error]


def test_no_more_callers_than_the_server_says_it_answers(
    server: Failing, world: Path, tmp_path: Path
) -> None:
    server.says_slots, server.seconds = True, FAST
    result = compiled(server, world, Run(tmp_path / "run"))
    assert not failures(result)
    assert server.most == 1
    assert any("answers 1 at a time" in note for note in result.notes)


def test_where_most_questions_come_too_late_they_are_asked_one_by_one_and_have_longer(
    server: Failing, world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.seconds, server.slow = SLOW, 12
    with caplog.at_level(logging.WARNING):
        result = compiled(server, world, Run(tmp_path / "run"), timeout=TIMEOUT)
    assert not failures(result)
    (said,) = [one.getMessage() for one in caplog.records if "one by one" in one.getMessage()]
    assert f"have {LONGER * TIMEOUT:g} s" in said
    assert said in result.notes
    # What was given up kept nobody waiting, and few calls were spent to find out.
    assert server.left >= 2  # of four; one may have waited for its turn
    asked = sum(stage.calls for stage in result.spend)
    assert len(server.calls) <= asked <= server.done + 8


def test_a_server_that_is_too_slow_for_that_ends_a_compile_early_with_what_to_do(
    server: Failing, world: Path, tmp_path: Path
) -> None:
    server.seconds = 60
    with pytest.raises(CompileError) as told:
        compiled(server, world, Run(tmp_path / "run"), timeout=0.2)
    assert "max_tokens" in told.value.hint
    assert server.left <= 12
    assert not server.done


@pytest.mark.parametrize("how", ["loading", "down"])
def test_a_server_that_goes_away_and_comes_back_costs_no_answer(
    server: Failing, world: Path, tmp_path: Path, how: str
) -> None:
    server.how, server.after, server.back = how, 12, 2.5
    result = compiled(server, world, Run(tmp_path / "run"), timeout=2)
    assert not failures(result)


@pytest.mark.parametrize("how", ["loading", "down"])
def test_an_evaluation_waits_as_a_compile_does(server: Failing, world: Path, how: str) -> None:
    server.how, server.after, server.back, server.says_slots = how, 12, 2.5, True
    done = evaluated(server, world, timeout=2)
    assert not failures(done)
    assert server.most == 1
    assert len(server.calls) == server.done == len(done.rows)
    assert all(row.prompt_tokens for row in done.rows)


def asked_for_questions(server: SlowLM, world: Path) -> QuestionBatch:
    """As `rag questions` does it."""
    wanted = recipe(world, lm={"model": "openai/scripted", "api_base": server.url})
    request = QuestionRequest(wanted, 20, None, (), Caps())
    return make_questions(request, lambda *_: None)


@pytest.mark.parametrize("command", [evaluated, asked_for_questions])
def test_a_server_that_stays_away_ends_any_command_with_what_to_do(
    server: Failing,
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[SlowLM, Path], object],
) -> None:
    monkeypatch.setattr(patience, "WAIT_SECONDS", 1.5)
    monkeypatch.setattr(writing, "SHORTEST", 1)
    server.after, before = 3, threading.enumerate()
    with pytest.raises(ModelError, match="cannot be reached") as told:
        command(server, world)
    assert "the command again" in told.value.hint
    # Who waited beside the one that gave up does not begin to wait: the process would not end.
    left = [one for one in threading.enumerate() if one not in before and not one.daemon]
    for one in left:
        one.join(0.5)
    assert not [one for one in left if one.is_alive()]


def test_a_server_that_stays_away_ends_the_compile_which_goes_on_where_it_was(
    server: Failing, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "WAIT_SECONDS", 1.5)
    server.after = 12
    with pytest.raises(ModelError, match="cannot be reached") as told:
        compiled(server, world, Run(tmp_path / "run"))
    assert "--resume" in told.value.hint
    server.down, server.after = False, -1
    before = len(server.calls)
    result = compiled(server, world, Run(tmp_path / "run", resume=True))
    assert not failures(result)
    asked = [call.messages for call in server.calls[:before]]
    assert not [call for call in server.calls[before:] if call.messages in asked]


def test_a_server_that_was_never_there_is_told_at_once(
    server: Failing, world: Path, tmp_path: Path
) -> None:
    server.down = True
    with pytest.raises(CompileError):
        compiled(server, world, Run(tmp_path / "run", caps=Caps(calls=100)))


def test_a_resumed_run_keeps_the_pace_it_had_come_to(
    server: Failing, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "WAIT_SECONDS", 1.5)
    server.seconds, server.after = SLOW, 12
    with pytest.raises(ModelError):
        compiled(server, world, Run(tmp_path / "run"), timeout=TIMEOUT)
    server.down, server.after, server.seconds, server.most = False, -1, FAST, 0
    result = compiled(server, world, Run(tmp_path / "run", resume=True), timeout=TIMEOUT)
    assert not failures(result)
    assert server.most == 1


def test_how_long_it_will_take_is_told_after_the_baseline_where_that_is_long(
    server: Failing,
    world: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "TOLD_SECONDS", 0.1)
    server.seconds = FAST
    with caplog.at_level(logging.WARNING):
        compiled(server, world, Run(tmp_path / "run"))
    (said,) = [one.getMessage() for one in caplog.records if "takes up to" in one.getMessage()]
    assert "--resume goes on" in said
    shown = [estimate.duration_as_text(seconds) for seconds in (61, 360, 36_000)]
    assert shown == ["61 seconds", "6 minutes", "10.0 hours"]
