"""A real server on loopback, over the tiny artifact, and a client for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from ragwright.artifacts.server import ServerSettings, create_app
from ragwright.artifacts.server.patience import PatientProtocol
from ragwright.artifacts.store import save
from ragwright.programs.build import build_program, index_settings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.ingest import ingest
from tests.artifacts.conftest import documents

KEY = "a-key-of-the-tests-0123456789"
HEADERS = {"Authorization": f"Bearer {KEY}"}


@dataclass(frozen=True)
class Running:
    """A server that is up: the app inside it, and a client that is let in."""

    app: FastAPI
    url: str
    client: httpx.Client

    def ask(self, question: str, **body: Any) -> httpx.Response:
        return self.client.post("/v1/ask", json={"question": question, **body})

    def events(self, path: str = "/v1/ask/stream", **body: Any) -> list[tuple[str, Any]]:
        """Post, and read the whole stream: (name, data) of every event."""
        with self.client.stream("POST", path, json=body) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            text = "".join(response.iter_text())
        return parse_events(text)

    def metric(self, name: str, **labels: str) -> float:
        value = self.app.state.metrics.registry.get_sample_value(name, labels)
        return 0.0 if value is None else float(value)


def parse_events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        data = lines["data"]
        found.append((lines.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found


@contextlib.contextmanager
def running(app: FastAPI, *, wait: bool = True) -> Iterator[Running]:
    """Run an app on a free port, in a thread, until the block ends."""
    config = uvicorn.Config(
        app, port=0, http=PatientProtocol, h11_max_incomplete_event_size=32_768, ws="none",
        log_config=None, proxy_headers=False,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, headers=HEADERS, timeout=300) as client:
            if wait:
                until(lambda: client.get("/readyz").status_code == 200)
            yield Running(app, url, client)
    finally:
        server.should_exit = True
        thread.join()


def until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


Serve = Callable[..., contextlib.AbstractContextManager[Running]]


@pytest.fixture
def serve(home: Path, tmp_path: Path) -> Serve:
    """Start a server over the tiny artifact, with these settings."""

    def start(
        *, keys: tuple[str, ...] = (KEY,), wait: bool = True, **settings: Any
    ) -> contextlib.AbstractContextManager[Running]:
        base = {"artifact": str(home), "feedback": str(tmp_path / "feedback.sqlite")}
        chosen = ServerSettings.checked(**{**base, "reload": 0.05, **settings})
        return running(create_app(chosen, keys=keys), wait=wait)

    return start


def standing(folder: Path) -> ServerSettings:
    """Make the tiny artifact in a folder of its own; the settings of a server over it."""
    table = {"name": "capitals", "index": {"path": str(folder / "index"), "embedder": "hash"}}
    recipe = Recipe.checked({**table, "knobs": {"k": 3, "weight_maxsim": 0.5}})
    ingest(documents(), recipe.index.path, index_settings(recipe))
    save(build_program(recipe), folder / "artifact", recipe=recipe)
    return ServerSettings(artifact=str(folder / "artifact"), feedback=str(folder / "f.sqlite"))


@pytest.fixture
def server(serve: Serve) -> Iterator[Running]:
    """A server with the default settings."""
    with serve() as started:
        yield started
