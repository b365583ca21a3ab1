"""A compile that was killed goes on where it was, and pays for nothing twice."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ragwright.optimize import Run, compile_program, read_questions
from ragwright.optimize.accounts import CALLS
from ragwright.optimize.journal import NAME, Journal, Origin, lock_run_folder
from ragwright.programs.lm import build_lm
from ragwright.retrievers.errors import CompileError, InputError
from tests.processes import Forked
from tests.servers.scripted_lm import Call, Fault

from . import killed
from .conftest import recipe
from .scripted import Writing, small

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
ORIGIN = Origin("data", "program", "recipe", "index", "lm")
SETTINGS = {"optimizer": "labeled", "retrieval_trials": 2, "shortlist": 1}


def started(world: Path, run: Path, server: Writing, *more: str) -> Forked:
    run.mkdir(exist_ok=True)
    given = (world, run, server.url, "bootstrap-random-search", list(more))
    output = run / "output.txt"
    return Forked(killed.main, *given, folder=ROOT, out=output, err=output)


def finished(process: Forked, run: Path) -> object:
    """What a process that is left alone compiles."""
    process.wait(timeout=300)
    assert process.returncode == 0, (run / "output.txt").read_text(encoding="utf-8")
    return json.loads((run / "compiled.json").read_text(encoding="utf-8"))


class Killing(Writing):
    """Kills the process that makes a certain call, before it answers."""

    victim: Forked | None = None
    last: int | None = None

    def arrived(self, call: Call) -> Fault | None:
        fault = super().arrived(call)
        if len(self.calls) == self.last and self.victim:
            self.victim.kill()
        return fault


@pytest.fixture(scope="module")
def undisturbed(
    world: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[object, list[tuple[str, int]]]:
    """What a compile comes to that is left alone, and how many calls each stage made."""
    run = tmp_path_factory.mktemp("undisturbed")
    with Writing() as server:
        return finished(started(world, run, server), run), calls_by_stage(run)


def calls_by_stage(run: Path) -> list[tuple[str, int]]:
    wanted = "SELECT stage, COUNT(*) FROM calls GROUP BY stage ORDER BY MAX(number)"
    if not (run / CALLS).exists():
        return []
    with closing(sqlite3.connect(run / CALLS)) as ledger:
        return ledger.execute(wanted).fetchall()


def drawn(stage: str, calls: list[tuple[str, int]]) -> int:
    """The number of a call in the middle of a stage, drawn by chance, the same in every run.

    Not among the last, nor the first: the calls that were cut off before are made again.
    """
    names = [name for name, _ in calls]
    before = sum(count for _, count in calls[: names.index(stage)])
    count = dict(calls)[stage]
    return before + random.Random(stage).randint(7 if before else 3, count - 2)


def killed_in(stage: str, world: Path, run: Path, server: Killing, at: int | None) -> None:
    resume = ["resume"] if (run / NAME).exists() else []
    by_itself = [] if at else [f"{stage}={random.Random(stage).randint(3, 18)}"]
    server.last = at
    server.victim = started(world, run, server, *resume, *by_itself)
    server.victim.wait(timeout=300)
    output = (run / "output.txt").read_text(encoding="utf-8")
    assert server.victim.returncode == -signal.SIGKILL, output
    if at:
        assert [name for name, _ in calls_by_stage(run)][-1] == stage
    server.last = None


@pytest.mark.parametrize(
    "stages",
    [("pool", "halving", "shortlist", "test"), ("baseline", "retrieval", "prompts", "choice")],
)
def test_killed_in_every_stage_it_comes_to_the_same_and_pays_for_nothing_twice(
    world: Path,
    tmp_path: Path,
    undisturbed: tuple[object, list[tuple[str, int]]],
    stages: tuple[str, ...],
) -> None:
    expected, calls = undisturbed
    run = tmp_path / "killed"
    shutil.rmtree(world / "index" / "pools")
    with Killing() as server:
        for stage in stages:
            at = drawn(stage, calls) if stage in dict(calls) else None
            killed_in(stage, world, run, server, at)
        assert finished(started(world, run, server, "resume"), run) == expected
        assert len(server.calls) <= 1.05 * sum(count for _, count in calls)


def test_ctrl_c_keeps_the_best_so_far_and_can_be_resumed(world: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    questions = small(world)

    def interrupting(stage: str, done: int, total: int) -> None:
        if stage == "prompts" and done == 20:
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
    assert sum(stage.repeated for stage in result.spend) >= 19
    again = compile_program(wanted, questions, lm=lm, run_dir=tmp_path / "other")
    assert result.program.dump_state() == again.program.dump_state()


def test_what_changed_is_named(world: Path, tmp_path: Path) -> None:
    run, lm = tmp_path / "run", build_lm("extractive", embedder="hash")
    questions = small(world)
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


def test_damage_is_refused_or_done_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(ORIGIN, resume=False)
    journal.add("best", {"name": "baseline", "dev": 0.25})
    data = journal.file.read_bytes()
    for damaged in (data.replace(b"0.25", b"0.26"), data.replace(b"{", b"\0", 1), b"\xff" + data):
        journal.file.write_bytes(damaged)
        with pytest.raises(CompileError, match=r"journal.jsonl' is damaged: line \d is not"):
            Journal(tmp_path)


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be one", None])
def test_a_ledger_that_cannot_be_used_ends_the_compile(
    world: Path, tmp_path: Path, damage: bytes | None
) -> None:
    """A reply that cannot be kept is no wrong answer, and no traceback."""
    questions = read_questions(world / "questions.jsonl")

    def breaking(stage: str, done: int, total: int) -> None:
        if stage == "baseline" and damage is None:
            with closing(sqlite3.connect(tmp_path / CALLS)) as ledger, ledger:
                ledger.execute("DROP TABLE IF EXISTS marks")
                ledger.execute("DROP TABLE IF EXISTS calls")

    if damage is not None:
        (tmp_path / CALLS).write_bytes(damage)
    lm = build_lm("extractive", embedder="hash")
    with pytest.raises(CompileError, match=r"The ledger of calls '.*' cannot be used"):
        compile_program(
            recipe(world, compile=SETTINGS), questions, lm=lm, run=Run(tmp_path, progress=breaking)
        )


def test_what_a_run_asked_is_for_its_owner_alone(tmp_path: Path) -> None:
    with lock_run_folder(tmp_path / "runs" / "run"):
        assert (tmp_path / "runs" / "run").stat().st_mode & 0o777 == 0o700


def test_two_processes_do_not_work_on_one_run(tmp_path: Path) -> None:
    refused = pytest.raises(CompileError, match=r"Another process works on the run")
    with lock_run_folder(tmp_path), refused, lock_run_folder(tmp_path):
        pass
