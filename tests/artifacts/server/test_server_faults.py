"""Faults under load: what clients get while parts of the system are killed, stopped or replaced.

Everything is a process of its own: the server (`rag serve`), a Chroma server, a language model
that speaks OpenAI's protocol. Eight clients ask all the time, every second question streamed;
without a breath under `make attack`.

    pytest tests/artifacts/server/test_server_faults.py -s      prints the table of docs/serving.md
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from ragwright.artifacts.promotion import promote, roll_back
from ragwright.programs.recipe import Recipe
from tests.artifacts.server.conftest import parse_events, until
from tests.servers.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
CLIENTS = 8
BREATH = 0 if "RAGWRIGHT_KILLS" in os.environ else 0.2
"""Seconds that a client waits between its questions."""
Process = subprocess.Popen[bytes]
LANDS = ("France", "Italy", "Spain", "Peru", "Japan", "Kenya")
LM = """
import sys, threading
from tests.servers import scripted_lm
class Fixed(scripted_lm._Server):
    def __init__(self, address, handler):
        super().__init__(("127.0.0.1", int(sys.argv[1])), handler)
scripted_lm._Server = Fixed
with scripted_lm.ScriptedLM():
    threading.Event().wait()
"""
SAVE = """
import sys
from ragwright.artifacts.store import save
from ragwright.programs.build import build_program, index_settings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.ingest import ingest
from tests.artifacts.conftest import documents
recipe = Recipe.model_validate_json(sys.argv[1])
settings = index_settings(recipe).model_copy(update={"store": sys.argv[3]})
ingest(documents(), recipe.index.path, settings)
save(build_program(recipe), sys.argv[2], recipe=recipe)
"""
RAG = "from ragwright.artifacts.cli import main; main()"
CHROMA = "import sys; sys.argv[0] = 'chroma'; from chromadb.cli.cli import app; app()"


@dataclass
class Load:
    """Clients that ask all the time, and what they got, by phase."""

    url: str
    phase: str = "all is well"
    got: dict[str, Counter[str]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self) -> None:
        """Ask until stopped; a phase counts the questions whose answer came in it.

        Not those that were asked before it, but for the last: its end is what they are to reach.
        """
        while not self.stop.is_set():
            asked_in = self.phase
            outcome = self.ask(next(self.numbers))
            phase = self.phase if self.phase in (asked_in, "SIGTERM") else "in between"
            self.got.setdefault(phase, Counter())[outcome] += 1
            self.stop.wait(0.2 if outcome == "refused" else BREATH)

    def counted(self, outcome: str) -> int:
        """How often a question of the phase came to this."""
        return self.got.get(self.phase, Counter())[outcome]

    def ask(self, number: int) -> str:
        streamed = number % 2 == 1
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=300)
        body = json.dumps({"question": f"{number}: the capital of {LANDS[number % 6]}?"})
        path = "/v1/ask/stream" if streamed else "/v1/ask"
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
        except (ConnectionRefusedError, ConnectionResetError) as error:
            # Reset: the server stopped listening before it took the connection from the queue.
            if self.phase != "SIGTERM":
                self.strange.append(f"{self.phase}: {error}")
            return "refused"
        try:
            text = response.read().decode()
            return _judged(response.status, text, streamed=streamed)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            self.strange.append(f"{self.phase}: {type(error).__name__} {error}")
            return "broken"
        finally:
            connection.close()


def _judged(status: int, text: str, *, streamed: bool) -> str:
    """Return what an answer is, having read all of it; a malformed one raises."""
    if status != 200:
        code = json.loads(text)["error"]["code"]
        if status not in (429, 503):
            raise ValueError(f"{status}: {text[:300]}")
        return f"{status} {code}"
    name, last = parse_events(text)[-1] if streamed else ("done", json.loads(text))
    if name == "error":
        code = last["error"]["code"]
        if code in ("internal", "invalid_request"):
            raise ValueError(text[:300])
        return f"503 {code}"
    if not last["passages"]:
        raise ValueError("no passages")
    stages = sorted(part["stage"] for part in last["degraded"])
    return f"without {', '.join(dict.fromkeys(stages))}" if stages else "answered"


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with ExitStack() as stack:
        yield Parts(stack, tmp_path, free_port(), free_port(), free_port())


@dataclass
class Parts:
    """The processes of the system, and where they listen."""

    stack: ExitStack
    folder: Path
    lm_port: int
    store_port: int
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def lm_address(self) -> str:
        return f"http://127.0.0.1:{self.lm_port}/v1"

    @property
    def store_address(self) -> str:
        return f"chroma+http://127.0.0.1:{self.store_port}"

    def start(self, *command: str) -> Process:
        log = self.stack.enter_context((self.folder / "log").open("ab"))
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT / "src"), "OPENAI_API_KEY": "none",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }  # fmt: skip
        arguments = [sys.executable, "-c", *command]
        process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def start_lm(self) -> Process:
        process = self.start(LM, str(self.lm_port))
        until(lambda: _listens(self.lm_port))
        return process

    def start_store(self) -> Process:
        place = str(self.folder / "chroma")
        process = self.start(CHROMA, "run", "--path", place, "--port", str(self.store_port))
        until(lambda: _listens(self.store_port))
        return process

    def start_server(self, home: Path) -> Process:
        options = ("--reload", "0.2", "--store", "", "--cache", "0", "--concurrency", "6")
        process = self.start(RAG, "serve", str(home), "--port", str(self.port), *options)
        until(lambda: _ready(self.url))
        return process

    def save(self, recipe: Recipe, home: Path) -> None:
        """Save one more version of the artifact, in a process of its own."""
        process = self.start(SAVE, recipe.model_dump_json(), str(home), self.store_address)
        assert process.wait(300) == 0, (self.folder / "log").read_text()

    def recipe(self) -> Recipe:
        return Recipe.checked(
            {
                "name": "capitals",
                "index": {"path": str(self.folder / "index"), "embedder": "hash"},
                "knobs": {"k": 3},
                "lm": {"model": "openai/scripted", "api_base": self.lm_address},
                "fallback": {
                    "enabled": True,
                    "retrieve_seconds": 3,
                    "respond_seconds": 20,
                    "cooldown_seconds": 1,
                },
            }
        )


@contextmanager
def _under(load: Load) -> Iterator[None]:
    threads = [threading.Thread(target=load.run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        load.stop.set()
        for thread in threads:
            thread.join()


def test_faults_under_load(parts: Parts) -> None:
    store, lm = parts.start_store(), parts.start_lm()
    recipe, home = parts.recipe(), parts.folder / "artifact"
    parts.save(recipe, home)
    promote(home)
    server = parts.start_server(home)
    load = Load(parts.url)
    load.ask(0)  # the first answer imports the language model's client
    with _under(load):
        _settle(load, "all is well")
        _break_parts(parts, load, store=store, lm=lm)
        _swap_versions(parts, load, home)
        load.phase = "SIGTERM"
        server.send_signal(signal.SIGTERM)
        server.wait(300)
    sys.stdout.write(f"\n{table(load.got)}\n")
    assert load.strange == []
    assert all(counts["broken"] == 0 for counts in load.got.values())
    for phase in ("all is well", "language model back", "vector store back"):
        assert set(load.got[phase]) == {"answered"}, phase
    for phase in ("version 2 promoted", "version 2 serves", "version 1 serves"):
        assert set(load.got[phase]) == {"answered"}, phase
    assert set(load.got["SIGTERM"]) <= {"answered", "refused"}
    assert load.got["language model killed"]["without respond"] > 0
    assert load.got["vector store stopped"]["without dense"] > 0
    assert server.returncode in (0, -signal.SIGTERM)


def _break_parts(parts: Parts, load: Load, *, store: Process, lm: Process) -> None:
    load.phase = "language model killed"
    lm.kill()
    until(lambda: load.counted("without respond") > 2 * CLIENTS)
    parts.start_lm()
    _settle(load, "language model back")
    load.phase = "vector store stopped"
    store.send_signal(signal.SIGSTOP)
    until(lambda: load.counted("without dense") > 2 * CLIENTS)
    store.send_signal(signal.SIGCONT)
    _settle(load, "vector store back")


def _swap_versions(parts: Parts, load: Load, home: Path) -> None:
    load.phase = "version 2 promoted"
    parts.save(parts.recipe(), home)
    promote(home)
    until(lambda: _version(parts.url) == "2")
    _settle(load, "version 2 serves")
    load.phase = "rolled back to version 1"
    roll_back(home)
    until(lambda: _version(parts.url) == "1")
    _settle(load, "version 1 serves")


def _settle(load: Load, phase: str) -> None:
    """Wait until whole answers come again, then count a phase of them."""
    load.phase = waiting = f"{phase}: at first"
    until(lambda: load.got.get(waiting, Counter())["answered"] > CLIENTS)
    load.phase = phase
    until(lambda: load.got.get(phase, Counter()).total() > 5 * CLIENTS)


def table(got: dict[str, Counter[str]]) -> str:
    """Return what every phase brought, as a Markdown table."""
    kinds = list(dict.fromkeys(kind for counts in got.values() for kind in counts))
    head = ["while", *kinds]
    rows = [[phase, *(str(counts[kind] or "") for kind in kinds)] for phase, counts in got.items()]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _version(url: str) -> str:
    return str(httpx.get(f"{url}/readyz").json()["source"]["version"])


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
