"""A compile that was killed goes on where it was, and pays for nothing twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from optimize import Run, compile_program, read_questions
from optimize.journal import Journal, Origin, only_process
from programs.lm import build_lm
from retrievers.errors import CompileError, InputError

from .conftest import recipe
from .scripted import Writing

ROOT = Path(__file__).resolve().parent.parent.parent
ORIGIN = Origin("data", "program", "recipe", "index", "lm")
SETTINGS = {"optimizer": "labeled", "retrieval_trials": 2, "shortlist": 1}


def started(world: Path, run: Path, server: Writing, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.optimize.killed", str(world), str(run), server.url]
    run.mkdir(exist_ok=True)
    with (run / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [*command, "bootstrap-random-search", *more],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=output, stderr=output,
        )  # fmt: skip


def finished(process: subprocess.Popen[bytes], run: Path) -> object:
    """What a process that is left alone compiles."""
    process.wait(timeout=120)
    assert process.returncode == 0, (run / "output.txt").read_text(encoding="utf-8")
    return json.loads((run / "compiled.json").read_text(encoding="utf-8"))


def trials_made(run: Path, server: Writing) -> bool:
    file = run / "search.jsonl"
    return file.exists() and file.stat().st_size > 3000


def calls_made(least: int, most: int) -> Callable[[Path, Writing], bool]:
    """A moment between two numbers of calls, drawn by chance, the same in every run."""
    count = random.Random(least).randint(least, most)
    return lambda run, server: len(server.calls) >= count


MOMENTS = {
    "retrieval": trials_made,
    "halving": calls_made(12, 38),
    "prompts": calls_made(45, 75),
    "test": calls_made(120, 140),
}


def test_killed_in_every_stage_it_comes_to_the_same_and_pays_for_nothing_twice(
    world: Path, tmp_path: Path
) -> None:
    with Writing() as server:
        whole = tmp_path / "undisturbed"
        expected = finished(started(world, whole, server), whole)
        calls = len(server.calls)
    run = tmp_path / "killed"
    resume: tuple[str, ...] = ()
    with Writing() as server:
        for reached in MOMENTS.values():
            process = started(world, run, server, *resume)
            while not reached(run, server):
                assert process.poll() is None, (run / "output.txt").read_text(encoding="utf-8")
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait()
            resume = ("resume",)
        assert finished(started(world, run, server, *resume), run) == expected
        assert len(server.calls) <= 1.05 * calls


def test_ctrl_c_keeps_the_best_so_far_and_can_be_resumed(world: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    questions = read_questions(world / "questions.jsonl")

    def interrupting(stage: str, done: int, total: int) -> None:
        if stage == "prompts" and done == 40:
            signal.raise_signal(signal.SIGINT)

    wanted = recipe(world, compile={"retrieval_trials": 2, "shortlist": 1, "threads": 1})
    lm = build_lm("extractive", embedder="hash")
    with pytest.raises(KeyboardInterrupt):
        compile_program(wanted, questions, lm=lm, run=Run(run, progress=interrupting))
    best = Journal(run).last("best")
    assert best is not None
    assert best["name"] == "baseline"
    assert 0 < best["dev"] < 1
    result = compile_program(wanted, questions, lm=lm, run=Run(run, resume=True))
    assert sum(stage.repeated for stage in result.spend) >= 39
    again = compile_program(wanted, questions, lm=lm, run_dir=tmp_path / "other")
    assert result.program.dump_state() == again.program.dump_state()


def test_what_changed_is_named(world: Path, tmp_path: Path) -> None:
    run, lm = tmp_path / "run", build_lm("extractive", embedder="hash")
    questions = read_questions(world / "questions.jsonl")
    compile_program(recipe(world, compile=SETTINGS), questions, lm=lm, run_dir=run)
    other = (replace(questions.questions[0], answers=("other",)), *questions.questions[1:])
    with pytest.raises(CompileError, match=r"since it started, data changed"):
        compile_program(recipe(world, compile=SETTINGS), other, lm=lm, run=Run(run, resume=True))
    changed = recipe(world, compile={**SETTINGS, "seed": 1})
    with pytest.raises(CompileError, match=r"since it started, recipe changed"):
        compile_program(changed, questions, lm=lm, run=Run(run, resume=True))
    changed = recipe(world, compile=SETTINGS, program={"kind": "hybrid", "abstain": True})
    with pytest.raises(CompileError, match=r"since it started, program and recipe changed"):
        compile_program(changed, questions, lm=lm, run=Run(run, resume=True))
    with pytest.raises(InputError, match=r"holds a run already"):
        compile_program(recipe(world, compile=SETTINGS), questions, lm=lm, run_dir=run)
    fresh = Run(tmp_path / "nothing", resume=True)
    with pytest.raises(InputError, match=r"no run to resume"):
        compile_program(recipe(world, compile=SETTINGS), questions, lm=lm, run=fresh)
    shutil.rmtree(run / "evaluations")
    result = compile_program(
        recipe(world, compile=SETTINGS), questions, lm=lm, run=Run(run, resume=True)
    )
    assert sum(stage.repeated for stage in result.spend) > 0


def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(ORIGIN, resume=False)
    journal.add("learned", {"setting": 0})
    with journal.file.open("a") as file:
        file.write('{"event": "chos')
    again = Journal(tmp_path)
    assert [entry["event"] for entry in again.entries] == ["started", "learned"]
    again.begin(ORIGIN, resume=True)
    assert [entry["event"] for entry in Journal(tmp_path).entries] == [
        "started", "learned", "resumed",
    ]  # fmt: skip


def test_two_processes_do_not_work_on_one_run(tmp_path: Path) -> None:
    refused = pytest.raises(CompileError, match=r"Another process works on the run")
    with only_process(tmp_path), refused, only_process(tmp_path):
        pass
