"""Versions come and go while questions are being answered; no request notices."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import dspy
import httpx
import pytest

from ragwright.artifacts.server.metrics import Metrics
from ragwright.artifacts.server.settings import ServerSettings
from ragwright.artifacts.server.swap import ServedVersion, VersionSwap
from ragwright.artifacts.store import save
from ragwright.programs.build import index_settings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.index import close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from tests.artifacts.conftest import documents
from tests.artifacts.server.conftest import Running, Serve, until

QUESTION = "What is the capital of Peru?"

SERVE = """
import sys
from ragwright.artifacts.server.run import serve
from ragwright.artifacts.server.settings import ServerSettings
serve(ServerSettings.model_validate_json(sys.argv[1]))
"""


def _version(server: Running) -> str:
    return str(server.client.get("/readyz").json()["source"]["version"])


def test_a_promoted_version_is_served_without_dropping_a_request(
    serve: Serve, home: Path, program: dspy.Module, recipe: Recipe
) -> None:
    seen: list[tuple[int, str]] = []
    stop = threading.Event()
    with serve(cache_entries=0) as server:

        def ask() -> None:
            with httpx.Client(base_url=server.url, headers=server.client.headers) as client:
                while not stop.is_set():
                    response = client.post("/v1/ask", json={"question": QUESTION})
                    seen.append((response.status_code, response.json()["source"]["version"]))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in ("2", "3"):
            save(program, home, recipe=recipe)
            until(lambda number=number: _version(server) == number)  # type: ignore[misc]
        (home / "aliases.json").write_text('{"current": 1}')
        until(lambda: _version(server) == "1")
        count = len(seen)
        until(lambda: len(seen) > count + 8)
        stop.set()
        for thread in threads:
            thread.join()
        assert server.metric("ragwright_swaps_total", outcome="done") == 4
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {"1", "2", "3"}


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(
    serve: Serve, home: Path, program: dspy.Module, recipe: Recipe
) -> None:
    with serve() as server:
        version = save(program, home, recipe=recipe)
        until(lambda: _version(server) == "2")
        shutil.copytree(version, home / "3")
        (home / "3/state.json").write_text("{}")
        (home / "aliases.json").write_text('{"current": 3}')
        until(lambda: server.metric("ragwright_swaps_total", outcome="failed") >= 1)
        assert server.ask(QUESTION).json()["source"]["version"] == version.name
        assert server.metric("ragwright_swaps_total", outcome="failed") == 1


def test_an_answer_is_not_kept_once_the_documents_changed(serve: Serve, recipe: Recipe) -> None:
    with serve() as server:
        first = server.ask("What is the capital of Chad?").json()
        assert "N'Djamena" not in first["answer"]
        assert server.ask("What is the capital of Chad?").json()["cached"]
        chad = Document("Chad", "The capital of Chad is N'Djamena.", title="Chad")
        ingest([*documents(), chad], recipe.index.path, index_settings(recipe))
        found = server.ask("What is the capital of Chad?").json()
        assert (found["cached"], found["passages"][0]["document"]) == (False, "Chad")
        assert found["source"]["generation"] > first["source"]["generation"]


def test_another_index_in_its_place_is_noticed(
    serve: Serve, recipe: Recipe, tmp_path: Path
) -> None:
    """It was written to as often as the one before: its generation is the same."""
    place, other = Path(recipe.index.path), tmp_path / "other"
    ingest([Document("Chad", "The capital of Chad is N'Djamena.")], other, index_settings(recipe))
    close_index(other)
    with serve() as server:
        assert server.ask("What is the capital of Chad?").json()["passages"]
        assert server.ask("What is the capital of Chad?").json()["cached"]
        place.rename(tmp_path / "before")
        other.rename(place)
        found = server.ask("What is the capital of Chad?").json()
        assert [passage["document"] for passage in found["passages"]] == ["Chad"]
        assert not found["cached"]


def test_another_artifact_in_its_place_is_noticed(
    serve: Serve, home: Path, program: dspy.Module, recipe: Recipe, tmp_path: Path
) -> None:
    """A version with the same number, in the same folder: as who replaces a folder by a copy."""
    save(program, tmp_path / "other", recipe=recipe)
    with serve() as server:
        server.ask(QUESTION)
        assert server.ask(QUESTION).json()["cached"]
        home.rename(tmp_path / "before")
        (tmp_path / "other").rename(home)
        until(lambda: server.metric("ragwright_swaps_total", outcome="done") == 2)
        found = server.ask(QUESTION).json()
        assert (found["source"]["version"], found["cached"]) == ("1", False)


def test_who_is_told_to_look_while_a_version_loads_looks_after_that(
    home: Path, program: dspy.Module, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGHUP three times: the version that is wanted last is served, and each is loaded once."""
    loaded: list[str] = []
    promoted = threading.Event()

    def load(folder: Path, _: ServerSettings) -> ServedVersion:
        loaded.append(folder.name)
        if folder.name == "1":
            assert promoted.wait(60)
        return ServedVersion(folder, "capitals", folder.name, None, (), ())

    async def hung_up() -> str:
        serving = VersionSwap(ServerSettings(artifact=str(home)), Metrics())
        looks = [asyncio.create_task(serving.refresh()) for _ in range(3)]
        while not loaded:
            await asyncio.sleep(0.001)
        save(program, home, recipe=recipe)
        promoted.set()
        await asyncio.gather(*looks)
        return serving.current.version

    monkeypatch.setattr("ragwright.artifacts.server.swap._load", load)
    assert (asyncio.run(hung_up()), loaded) == ("2", ["1", "2"])


def test_a_server_without_an_artifact_lives_and_says_so(serve: Serve, tmp_path: Path) -> None:
    with serve(artifact=str(tmp_path / "nothing"), wait=False) as server:
        until(lambda: server.client.get("/readyz").json()["status"] == "failed")
        assert server.client.get("/healthz").status_code == 200
        response = server.ask(QUESTION)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
        assert str(tmp_path) not in response.text


def test_sigterm_lets_open_streams_finish(home: Path, tmp_path: Path) -> None:
    """In a process of its own, with a model that takes half a second a word."""
    settings = {"artifact": str(home), "port": 0, "feedback": ""}
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOWED, json.dumps(settings)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        event = json.loads(line)["event"]
        if "running on" in event:
            url = event.split()[3]
        if url and event == "serving":
            break
    with (
        httpx.Client(base_url=url, timeout=300) as client,
        client.stream("POST", "/v1/ask/stream", json={"question": QUESTION}) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "event: retrieval"
        process.send_signal(signal.SIGTERM)
        text = "\n".join(lines)
    process.communicate(timeout=300)
    assert "event: done" in text
    assert process.returncode in (0, -signal.SIGTERM)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")


_SLOWED = """
import time
from ragwright.programs.extractive import engine
complete = engine.ExtractiveEngine.complete
def slow(self, request):
    time.sleep(1)
    return complete(self, request)
engine.ExtractiveEngine.complete = slow
""" + SERVE  # fmt: skip


LOADED = """
import sys
import ragwright.artifacts.server.run
heavy = {"mlflow", "ragwright.optimize", "torch", "transformers", "sentence_transformers",
         "datasets", "optuna", "litellm", "matplotlib", "scipy", "sklearn", "pandas"}
names = {".".join(name.split(".")[:n]) for name in sys.modules for n in (1, 2)}
print(*sorted(names & heavy))
"""


def test_the_server_loads_nothing_that_trains() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
