"""A language model writes garbage, breaks off and thinks aloud: compiling ends with a report."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from ragwright.optimize import Caps, Run, TrainingSet, compile_program
from ragwright.optimize.accounts import CALLS
from ragwright.optimize.plain_replies import FEW, FIRST
from ragwright.retrievers.errors import CompileError
from tests.optimize.conftest import recipe
from tests.optimize.killed import SHORT
from tests.servers.scripted_lm import Call, Fault

from .scripted import Writing, few, lm_of, small

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
REAL = json.loads((ROOT / "tests/programs/real_replies.json").read_text(encoding="utf-8"))
GARBAGE, CUT, THINKS = 0.3, 0.1, 0.2
ATTACK = "RAGWRIGHT_KILLS" in os.environ
THREADS = 2
"""As many calls are under way at once in `tests.optimize.killed`."""
SOME = tuple(SHORT) if ATTACK else ("copro", "gepa")


def tiny(world: Path) -> TrainingSet:
    """Eight questions to learn from, eight to choose on, twenty to test on."""
    return small(world, train=8, dev=8, test=20)


def wanted(world: Path, optimizer: str, **more: Any) -> Any:
    section = {"optimizer": optimizer, "options": SHORT[optimizer], "retrieval_trials": 2,
               "shortlist": 1, "finalists": 1, "threads": 4, **more}  # fmt: skip
    return recipe(world, compile=section)


class Unruly(Writing):
    """Of its replies, 30 % are garbage, 10 % break off and 20 % begin with a thought, by a seed."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: Counter[str] = Counter()
        self.garbage: list[str] = []
        self.victim: subprocess.Popen[bytes] | None = None
        self.last = -1

    def arrived(self, call: Call) -> Fault | None:
        fault = super().arrived(call)
        if len(self.calls) == self.last and self.victim:
            self.victim.kill()
        return fault

    def reply(self, call: Call, *, as_json: bool) -> str:
        text = super().reply(call, as_json=as_json)
        drawn = random.Random(json.dumps(call.messages) + str(as_json)).random()
        if drawn < GARBAGE:
            self.kinds["garbage"] += 1
            return "%% !! @@"
        if drawn < GARBAGE + CUT:
            self.kinds["cut"] += 1
            return text[: len(text) // 2]
        if drawn < GARBAGE + CUT + THINKS:
            self.kinds["thinks"] += 1
            return f"<think>\n[[ ## answer ## ]]\nnever this?\n</think>\n{text}"
        return text


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize("optimizer", SHORT)
def test_a_compile_ends_with_a_report_and_counts_what_failed(
    world: Path, tmp_path: Path, optimizer: str
) -> None:
    with Unruly() as server:
        lm, asked = lm_of(server), few(world)
        run = Run(tmp_path / "run")
        result = compile_program(wanted(world, optimizer), asked, lm=lm, run=run)
        assert sum(stage.calls for stage in result.spend) == len(server.calls)
        assert min(server.kinds[kind] for kind in ("garbage", "cut", "thinks")) > 0
        for done in (*result.dev.values(), *result.test.values()):
            assert set(done.errors) <= {"AdapterParseError"}
            assert len(done.unreadable) == done.errors.get("AdapterParseError", 0)
            assert not any("never this" in row.answer for row in done.rows)
        told = json.dumps(result.program.dump_state())
        assert "never this" not in told
        assert "Not supplied" not in json.dumps([call.messages for call in server.calls])
        if optimizer != "bootstrap":
            return
        before, again = len(server.calls), Run(tmp_path / "run", resume=True)
        resumed = compile_program(wanted(world, optimizer), asked, lm=lm, run=again)
        assert len(server.calls) == before
        assert list(resumed.compiled.scores) == list(result.compiled.scores)


@pytest.mark.parametrize(("optimizer", "calls"), [("bootstrap", 130), ("gepa", 150)])
def test_caps_hold_where_replies_are_asked_for_twice(
    world: Path, tmp_path: Path, optimizer: str, calls: int
) -> None:
    with Unruly() as server:
        run = Run(tmp_path / "run", caps=Caps(calls=calls))
        asked = wanted(world, optimizer, shortlist=3, finalists=2)
        # The test may take more calls than the baseline lets expect: that is said, and costs none.
        with suppress(CompileError):
            compile_program(asked, tiny(world), lm=lm_of(server), run=run)
        # A call is booked before it is sent, and a thread that a cap left behind may be between.
        patience = time.monotonic() + 60
        while (booked := _booked(run)) != len(server.calls) and time.monotonic() < patience:
            time.sleep(0.05)
        assert 0 < booked == len(server.calls) <= calls


def _booked(run: Run) -> int:
    with closing(sqlite3.connect(run.folder / CALLS)) as ledger:
        (booked,) = ledger.execute("SELECT COUNT(*) FROM calls").fetchone()
    return int(booked)


class Small(Writing):
    """Says what SmolLM2-135M really said, drawn by what it is asked."""

    def reply(self, call: Call, *, as_json: bool) -> str:
        form = "json" if as_json else "chat" if call.wanted else "plain"
        kind = "answer" if call.wanted in ((), ("answer", "citations")) else "copro"
        fit = [one["reply"] for one in REAL if (one["asked_as"], one["kind"]) == (form, kind)]
        drawn = random.Random(json.dumps(call.messages))
        return str(drawn.choice(fit or [one["reply"] for one in REAL]))


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize("optimizer", SOME)
def test_a_compile_with_replies_of_a_real_small_model_ends_with_a_report(
    world: Path, tmp_path: Path, optimizer: str
) -> None:
    told: set[str] = set()
    with Small() as server:
        run = Run(tmp_path / "run", progress=lambda stage, *_: told.add(stage))
        result = compile_program(wanted(world, optimizer), few(world), lm=lm_of(server), run=run)
        assert sum(stage.calls for stage in result.spend) == len(server.calls)
        # Of writers, too, who judge nothing; bootstrap has none.
        assert optimizer == "bootstrap" or "prompts, replies" in told
        # A few questions are enough to find out.
        told_of = [f"of {count} replies did not keep to" for count in (FIRST, FEW)]
        assert any(said in note for said in told_of for note in result.notes)
        # It is served as it was measured.
        formats = {result.recipe.lm.format, result.program.options.format}
        assert formats == {"plain"}
        for done in result.test.values():
            # Asked for the answer alone, it is mostly read.
            assert sum(done.reads.values()) + sum(done.errors.values()) == len(done.rows)
            assert set(done.errors) <= {"AdapterParseError"}


def compiling(world: Path, run: Path, server: Unruly, *more: str) -> subprocess.Popen[bytes]:
    run.mkdir(exist_ok=True)
    with (run / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.optimize.killed", str(world), str(run), server.url,
             *more], cwd=ROOT, env=dict(os.environ), stdout=output, stderr=output,
        )  # fmt: skip


@pytest.mark.skipif(not ATTACK, reason="`make attack` kills")
@pytest.mark.parametrize("optimizer", SHORT)
def test_killed_among_garbage_it_goes_on_and_pays_for_no_answer_twice(
    world: Path, tmp_path: Path, optimizer: str
) -> None:
    run = tmp_path / "run"
    with Unruly() as server:
        server.last = 45
        server.victim = compiling(world, run, server, optimizer)
        assert server.victim.wait(timeout=600) == -signal.SIGKILL
        before = len(server.calls)
        server.last = -1
        process = compiling(world, run, server, optimizer, "resume")
        said = (run / "output.txt").read_text(encoding="utf-8")
        assert process.wait(timeout=600) == 0, said
        assert len(server.calls) > before
    twice = "SELECT key FROM calls WHERE reply IS NOT NULL GROUP BY key HAVING COUNT(*) > 1"
    with closing(sqlite3.connect(run / CALLS)) as ledger:
        assert ledger.execute(twice).fetchall() == []
    # A call is booked before it is sent: those that the kill found between the two never arrived.
    assert 0 <= _booked(Run(run)) - len(server.calls) <= THREADS
