"""What goes on beside the requests: work that fails, records that cannot be kept, files that go."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any, cast

import dspy
import httpx
import mlflow
import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.server import swap
from ragwright.artifacts.server.app import look_on_hangup
from ragwright.artifacts.server.logs import JsonFormatter, UnheldHandler
from ragwright.artifacts.server.metrics import Metrics
from ragwright.artifacts.server.routes import CHANGED
from ragwright.artifacts.server.supervision import Supervisor
from ragwright.artifacts.server.swap import VersionSwap
from ragwright.artifacts.store import save
from ragwright.programs.build import index_settings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from tests.artifacts.conftest import documents
from tests.artifacts.server.conftest import Running, Serve, until

QUESTION = "What is the capital of Peru?"


class Panic(BaseException):
    """What a Rust library raises when it panics: no `Exception`."""


def health(server: Running) -> dict[str, Any]:
    return dict(server.client.get("/readyz").json())


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError(), Panic("at core.rs:7")], ids=repr
)
def test_work_that_dies_is_said_and_tried_again(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, rounds, seen = Metrics(), 0, []

    async def step() -> float:
        nonlocal rounds
        rounds += 1
        seen.append(set(background.failing))
        if rounds <= 2:
            raise error
        return 60.0

    background = Supervisor(metrics, pause=0.001)

    async def run() -> None:
        background.start("versions", step)
        while rounds < 3:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        assert not background.failing
        await background.close()

    asyncio.run(run())
    assert seen == [set(), {"versions"}, {"versions"}]
    assert len([r for r in caplog.records if "tried again" in r.message and r.exc_info]) == 2
    name = "ragwright_background_failures_total"
    assert metrics.registry.get_sample_value(name, {"task": "versions"}) == 2


@pytest.mark.parametrize("error", [ValueError("unforeseen"), Panic("unforeseen")], ids=repr)
def test_a_load_that_dies_is_no_loading_for_ever(
    error: BaseException, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, broken = swap._load, True

    def loading(*args: Any) -> Any:
        if broken:
            raise error
        return load(*args)

    monkeypatch.setattr(swap, "_load", loading)
    with serve(wait=False) as server:
        until(lambda: health(server)["status"] == "failed")
        assert health(server)["problems"] == ["versions failed"]
        assert server.metric("ragwright_background_failures_total", task="versions") >= 1
        assert server.metric("ragwright_problems") == 1
        broken = False
        until(lambda: health(server)["status"] == "ok")
        assert server.ask(QUESTION).status_code == 200
        assert server.metric("ragwright_problems") == 0


class PanicException(BaseException):
    """As PyO3 calls its own."""


@pytest.mark.parametrize(
    "error", [PanicException("at core.rs:7"), Panic("x"), asyncio.CancelledError()], ids=repr
)
def test_an_answer_that_dies_ends_its_stream(
    error: BaseException, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client would wait for ever, and be sent a comment now and then."""

    async def dying(*args: Any, **more: Any) -> Any:
        raise error

    with serve() as server:
        program = server.app.state.service.serving.current.program
        monkeypatch.setattr(type(program), "aforward", dying)
        body = {"question": QUESTION}
        streamed = server.client.post("/v1/ask/stream", json=body, timeout=20)
        assert streamed.json()["error"]["code"] == "internal"
        if isinstance(error, PanicException):
            assert server.ask(QUESTION).json()["error"]["code"] == "internal"


def test_a_version_that_cannot_be_served_is_told(
    serve: Serve, home: Path, program: dspy.Module, recipe: Recipe
) -> None:
    with serve() as server:
        version = save(program, home, recipe=recipe)
        until(lambda: health(server)["source"]["version"] == "2")
        shutil.copytree(version, home / "3")
        (home / "3/state.json").write_text("{}")
        (home / "aliases.json").write_text('{"current": 3}')
        until(lambda: health(server)["status"] == "degraded")
        assert health(server)["problems"] == ["the wanted version cannot be loaded"]
        (home / "aliases.json").write_text('{"current": 2}')
        until(lambda: health(server)["status"] == "ok")


def test_what_changed_is_told_without_where_it_lies(
    serve: Serve, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody may ask whether the server is ready, and is no one to name folders to."""
    ingest([*documents(), Document("Oslo", "Oslo.")], recipe.index.path, index_settings(recipe))
    with serve() as server:
        told = httpx.get(f"{server.url}/readyz")
        assert told.json()["notes"] == [CHANGED]
        assert recipe.index.path not in told.text
    assert f"The documents in {recipe.index.path!r} changed" in caplog.text


def test_what_is_deleted_while_it_is_served_is_noticed(
    serve: Serve, home: Path, recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index = Path(recipe.index.path)
    with serve() as server:
        index.rename(tmp_path / "away")
        until(lambda: health(server)["status"] == "degraded")
        response = server.client.get("/readyz")
        assert response.json()["problems"] == ["the index's files are gone"]
        assert str(tmp_path) not in response.text
        assert "the index's files are gone" in caplog.text
        assert server.ask(QUESTION).status_code in (200, 503)
        (tmp_path / "away").rename(index)
        until(lambda: health(server)["status"] == "ok")
        home.rename(tmp_path / "gone")
        until(lambda: "the artifact's files are gone" in health(server)["problems"])
        assert server.ask(QUESTION).status_code == 200


@pytest.mark.parametrize("harm", ["full", "locked"])
def test_a_record_that_cannot_be_kept_costs_no_answer(
    harm: str, serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(cache_entries=0) as server:
        store = server.app.state.service.feedback
        if harm == "full":
            # A file that may not grow is how SQLite sees a full disk.
            pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
            store._connection.execute(f"PRAGMA max_page_count={pages}")
        else:
            other = sqlite3.connect(tmp_path / "feedback.sqlite", isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
        questions = [f"What is the capital of {'Peru ' * 300}{n}?" for n in range(20)]
        assert {server.ask(question).status_code for question in questions} == {200}
        assert server.events(question=QUESTION)[-1][0] == "done"
        until(lambda: server.metric("ragwright_dropped_total", record="answer") >= 1)
        assert "answers go on without" in caplog.text
        rated = {"answer_id": server.ask(QUESTION).json()["id"], "rating": "up"}
        said = server.client.post("/v1/feedback", json=rated)
        assert (said.status_code, said.json()["error"]["code"]) == (503, "out_of_order")
        if harm == "locked":
            other.close()
            store._closed_until = 0.0
            rated["answer_id"] = server.ask(QUESTION).json()["id"]
            assert server.client.post("/v1/feedback", json=rated).status_code == 201


def test_traces_that_cannot_be_written_cost_no_answer(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 1000)
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    try:
        with serve(trace=1.0, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db") as server:
            assert server.ask(QUESTION).status_code == 200
            until(lambda: server.metric("ragwright_dropped_total", record="trace") >= 2)
    finally:
        mlflow.set_tracking_uri(before)


def test_an_answer_that_no_file_can_hold_is_given_all_the_same(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as server:
        program = server.app.state.service.serving.current.program
        aforward = type(program).aforward

        async def strange(self: Any, **asked: Any) -> Any:
            found = await aforward(self, **asked)
            return dspy.Prediction(**{**found.toDict(), "answer": "half \ud83d pair"})

        monkeypatch.setattr(type(program), "aforward", strange)
        said = server.ask(QUESTION)
        assert (said.status_code, said.json()["answer"]) == (200, "half ? pair")


def test_a_hangup_looks_for_newer_versions(caplog: pytest.LogCaptureFixture) -> None:
    """The signal would end the process; what fails after it is logged and counted."""
    looked: list[str] = []

    class Looking:
        def __init__(self, name: str) -> None:
            self.name = name

        async def refresh(self) -> bool:
            looked.append(self.name)
            if len(looked) > 3:
                raise ZeroDivisionError
            return True

    async def hung_up() -> set[str]:
        background = Supervisor(Metrics())
        names = ("versions", "candidate")
        swaps = {name: cast("VersionSwap", Looking(name)) for name in names}
        look_on_hangup(background, swaps)
        for count in (1, 2):
            signal.raise_signal(signal.SIGHUP)
            while len(looked) < 2 * count:
                await asyncio.sleep(0.001)
        while not background.failing:
            await asyncio.sleep(0.001)
        await background.close()
        return background.failing

    assert asyncio.run(hung_up()) == {"candidate"}
    assert looked == ["versions", "candidate"] * 2
    assert "candidate failed" in caplog.text


def test_a_hangup_while_the_server_starts_ends_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(
        "ragwright.artifacts.server.run.serve",
        lambda _: seen.append(signal.getsignal(signal.SIGHUP)),
    )
    before = signal.getsignal(signal.SIGHUP)
    try:
        assert CliRunner().invoke(app, ["serve", str(home)]).exit_code == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIG_IGN]


class Unwritable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("said", "values"),
    [("%d items", ("x",)), ("a", (1,)), ("%(x)s", ({"y": 1},)), ("%s", (Unwritable(),)),
     (Unwritable(), ())],
)  # fmt: skip
def test_a_careless_line_of_log_costs_no_answer(said: object, values: tuple[object, ...]) -> None:
    read, write = os.pipe()
    handler = UnheldHandler(write)
    handler.setFormatter(JsonFormatter())
    handler.handle(logging.LogRecord("lib", logging.INFO, "x", 1, said, values, None))
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as lines:
        assert "its values cannot be written" in json.loads(lines.read())["event"]


def test_a_log_that_nobody_reads_holds_nobody() -> None:
    """A pipe takes some 64 KB; what has no room is left out and told, lines stay lines."""
    reading, writing = os.pipe()
    log, handler = logging.Logger("full"), UnheldHandler(writing)
    handler.setFormatter(JsonFormatter())
    log.addHandler(handler)
    for number in range(300):
        log.info("%d %s", number, "x" * 1000)
    left_out = handler.left_out
    assert 200 < left_out < 290
    heard = os.read(reading, 1 << 20)
    log.info("read again")
    os.close(writing)
    heard += os.read(reading, 1 << 20)
    os.close(reading)
    log.info("nobody is left")
    lines = heard.decode().splitlines()
    whole = [json.loads(line)["event"] for line in lines if line.endswith("}")]
    assert len(lines) - len(whole) <= 1  # one broke off in the middle
    assert [event.split()[0] for event in whole[:-2]] == [str(n) for n in range(len(whole) - 2)]
    assert whole[-2].startswith(f"{left_out} lines")
    assert whole[-1] == "read again"
    assert handler.left_out == 1
