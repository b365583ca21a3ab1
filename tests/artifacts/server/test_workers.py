"""Several workers on one port, over one embedded index: real processes, told apart by their logs.

One test goes through the life of a server, because each start takes seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ragwright.artifacts.server import ServerSettings
from ragwright.artifacts.server.metrics import MULTIPROCESS, Metrics
from ragwright.artifacts.server.run import check_workers
from ragwright.programs.build import index_settings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.stamp import Stamp
from ragwright.retrievers.types import Document
from tests.artifacts.conftest import documents
from tests.artifacts.server.conftest import until

ROOT = Path(__file__).parents[3]
SERVE = """
import sys
from ragwright.artifacts.server.run import serve
from ragwright.artifacts.server.settings import ServerSettings
serve(ServerSettings.model_validate_json(sys.argv[1]))
"""
SECONDS = 300.0
"""For starts of processes on a busy machine; nothing waits longer than it has to."""


@dataclass
class Supervised:
    """A server of several workers: the supervisor's process, and what all of them logged."""

    process: subprocess.Popen[bytes]
    log: Path

    def events(self) -> list[str]:
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]

    def started(self) -> list[int]:
        """The ids of the workers that came to take connections, in order."""
        marks = [event for event in self.events() if event.startswith("Started server process")]
        return [int(mark.split("[")[1].rstrip("]")) for mark in marks]

    def takes(self) -> int:
        return sum(event.startswith("Application startup complete") for event in self.events())

    def url(self) -> str:
        return next(e.split()[3] for e in self.events() if e.startswith("Uvicorn running on"))

    def ask(self, question: str) -> dict:
        """Ask over a connection of its own, so that any worker may answer."""
        response = httpx.post(f"{self.url()}/v1/ask", json={"question": question}, timeout=300)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url()}/metrics", timeout=300).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@contextmanager
def supervised(settings: dict, folder: Path) -> Iterator[Supervised]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", SERVE, json.dumps(settings)]
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    server = Supervised(process, log)
    try:
        until(lambda: server.takes() == settings["workers"], SECONDS)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(SECONDS)
        until(lambda: not any(map(alive, server.started())), SECONDS)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split(") ")[1][0]
    except OSError:
        return False


def test_two_workers_share_an_index_a_port_and_their_counts(
    home: Path, recipe: Recipe, tmp_path: Path
) -> None:
    settings = {
        "artifact": str(home), "port": 0, "workers": 2, "reload": 0.1,
        "feedback": str(tmp_path / "feedback.sqlite"),
    }  # fmt: skip
    with supervised(settings, tmp_path) as server:
        question, asked = "What is the capital of France?", 12
        replies = [server.ask(question) for _ in range(asked)]
        assert {reply["answer"] for reply in replies} == {replies[0]["answer"]}
        assert server.metric('ragwright_answers_total{outcome="ok"}') == asked

        told = httpx.post(
            f"{server.url()}/v1/feedback",
            json={"answer_id": replies[0]["id"], "rating": "up"},
            timeout=300,
        )
        assert told.status_code < 300, told.text  # whichever worker it came to

        chad = Document("Chad", "The capital of Chad is N'Djamena.", title="Chad")
        ingest([*documents(), chad], recipe.index.path, index_settings(recipe))
        for _ in range(8):
            found = server.ask("What is the capital of Chad?")
            assert found["passages"][0]["document"] == "Chad"

        first = server.started()
        os.kill(first[0], signal.SIGKILL)
        until(lambda: server.takes() == 3, SECONDS)
        assert server.ask(question)["answer"] == replies[0]["answer"]
        assert server.metric("ragwright_in_work") == 0
        assert server.metric('ragwright_answers_total{outcome="ok"}') >= asked + 8

        server.process.kill()  # workers do not outlive it, and the port is free
        until(lambda: not any(map(alive, server.started())), SECONDS)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url()}/healthz", timeout=5)


@pytest.mark.skipif("RAGWRIGHT_KILLS" not in os.environ, reason="long; `make attack` runs it")
def test_signals_reach_all_workers(home: Path, tmp_path: Path) -> None:
    settings = {"artifact": str(home), "port": 0, "workers": 2, "feedback": ""}
    with supervised(settings, tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.takes() == 4, SECONDS)
        until(lambda: not any(map(alive, server.started()[:-2])), SECONDS)
        assert server.ask("What is the capital of France?")["passages"]
        server.process.send_signal(signal.SIGINT)
        server.process.wait(SECONDS)
        until(lambda: not any(map(alive, server.started())), SECONDS)


def test_what_a_dead_worker_did_is_counted_and_what_it_was_at_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "from prometheus_client import Counter, Gauge\n"
        "Gauge('ragwright_in_work', '', multiprocess_mode='livesum').set(3)\n"
        "Counter('ragwright_answers', '', ('outcome',)).labels('ok').inc(2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), MULTIPROCESS: str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.glob("gauge_live*.db"))
    monkeypatch.setenv(MULTIPROCESS, str(tmp_path))
    shown = Metrics().render().decode()
    assert 'ragwright_answers_total{outcome="ok"} 2.0' in shown
    assert "ragwright_in_work 3.0" not in shown


@pytest.mark.parametrize(
    ("store", "shared"),
    [("", True), ("chroma+http://127.0.0.1:9", True), ("qdrant:vectors", False)],
)
def test_workers_share_what_several_processes_can_read(
    home: Path, recipe: Recipe, store: str, shared: bool
) -> None:
    settings = ServerSettings(artifact=str(home), workers=2)
    folder = Path(recipe.index.path)
    stamp = Stamp.read(folder)
    placed = stamp.settings.model_copy(update={"store": store})
    stamp.model_copy(update={"settings": placed}).write(folder)
    if shared:
        check_workers(settings)
        return
    with pytest.raises(InputError, match="2 workers cannot share"):
        check_workers(settings)
