"""Ctrl-C in the middle of `rag compile`, in a process of its own, and the way on from there."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Forked, rag
from tests.servers.scripted_lm import Call, Fault, ScriptedLM

pytestmark = pytest.mark.slow

STAGES = ("baseline", "halving", "prompts", "shortlist", "choice", "test")
RECIPE = """
name = "capitals"
[index]
path = "index"
documents = "documents.jsonl"
embedder = "hash"
[data]
trainset = "questions.jsonl"
train = 0.25
dev = 0.25
[lm]
model = "openai/scripted"
api_base = "{url}"
[compile]
optimizer = "bootstrap-random-search"
retrieval_trials = 4
shortlist = 1
candidates = 2
threads = 2
"""


class Interrupting(ScriptedLM):
    """Presses Ctrl-C in the process that makes a certain call, before it answers."""

    victim: Command | None = None
    last: int | None = None

    def arrived(self, call: Call) -> Fault | None:
        fault = super().arrived(call)
        if len(self.calls) == self.last and self.victim:
            self.victim.interrupt()
        return fault


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with documents and questions."""
    lands = [(f"Land{number}", f"Town{number}") for number in range(40)]
    documents = [{"_id": a, "text": f"The capital of {a} is {b}. It is large."} for a, b in lands]
    questions = [
        {"question": f"What is the capital of {a}?", "answer": b, "document": a} for a, b in lands
    ]
    for name, records in (("documents.jsonl", documents), ("questions.jsonl", questions)):
        (tmp_path / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path


@pytest.fixture
def server(place: Path) -> Iterator[Interrupting]:
    with Interrupting() as running:
        (place / "recipe.toml").write_text(RECIPE.format(url=running.url))
        finished(Command(place, "ingest", "recipe.toml", "--json"))
        yield running


class Command(Forked):
    """`rag` in a folder; what it prints goes into files there."""

    def __init__(self, place: Path, *words: str) -> None:
        self.out, self.err = place / "out.txt", place / "err.txt"
        for file in (self.out, self.err):
            file.unlink(missing_ok=True)
        env = {**os.environ, "OPENAI_API_KEY": "test"}
        super().__init__(rag, *words, folder=place, out=self.out, err=self.err, env=env)

    def ended(self) -> tuple[str, str]:
        self.wait(timeout=300)
        return self.out.read_text(), self.err.read_text()


def finished(process: Command) -> dict[str, Any]:
    """What a command that is left alone prints as JSON."""
    out, err = process.ended()
    assert process.returncode == 0, err
    said: dict[str, Any] = json.loads(out)
    return said


def before(stage: str, said: dict[str, Any]) -> int:
    """How many calls a compile made before a stage."""
    calls = {one["stage"]: one["calls"] for one in said["spend"]}
    return sum(calls[name] for name in STAGES[: STAGES.index(stage)])


def test_control_c_ends_a_compile_cleanly_and_it_can_go_on(
    server: Interrupting, place: Path
) -> None:
    mine = ("--output", "my place/capitals", "--workspace", "my runs", "--max-calls", "5000")
    command = ("compile", "recipe.toml", "--json", *mine)
    undisturbed = finished(
        Command(place, *command[:3], "--workspace", "elsewhere", "--output", "other")
    )
    count = len(server.calls)
    first, end = before("prompts", undisturbed), before("shortlist", undisturbed)
    server.last = count + (first + end) // 2
    server.victim = Command(place, *command)
    out, err = server.victim.ended()
    assert server.victim.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "Stopped; the best so far is 'baseline' (" in err
    assert not (place / "my place").exists()
    (told,) = [line for line in err.splitlines() if line.startswith("Go on with: rag ")]
    words = shlex.split(told.removeprefix("Go on with: rag "))
    resumed = finished(Command(place, *words, "--json"))
    for key in ("chosen", "verdict", "knobs", "programs"):
        assert _plain(resumed[key]) == _plain(undisturbed[key])
    assert (place / "my place" / "capitals").is_dir()
    assert (place / "my runs" / "mlflow.db").is_file()
    assert "5000" in words
    assert len(server.calls) - count <= 1.05 * count


def _plain(value: Any) -> Any:
    """Without what a clock measured."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if key != "seconds"}
    return value
