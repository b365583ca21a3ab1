"""The Python client and `rag ask --server`, against a real server."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.cli.serve import _printed
from ragwright.artifacts.client import AsyncClient, Client, ServerError
from ragwright.artifacts.wire import AskReply, RestartEvent, RetrievalEvent, TokenEvent
from ragwright.retrievers.errors import InputError, RagError
from tests.artifacts.server.conftest import KEY, Running

QUESTION = "What is the capital of Japan?"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(server.url, key=KEY) as made:
        yield made


def test_it_asks_searches_reads_and_rates(client: Client) -> None:
    reply = client.ask(QUESTION)
    assert "Tokyo" in reply.answer
    assert client.search(QUESTION, k=1).passages[0].document == "Japan"
    assert client.document("Japan").pieces[0].id == reply.passages[0].id
    assert client.feedback(reply, "up", comment="yes").answer_id == reply.id
    health = client.health()
    assert (health.status, health.feedback) == ("ok", True)
    assert client.ask(QUESTION, where={"document": "Peru"}).passages[0].document == "Peru"


def test_it_streams(client: Client) -> None:
    first, *middle, last = client.stream(QUESTION)
    assert isinstance(first, RetrievalEvent)
    assert isinstance(last, AskReply)
    said = [event.text for event in middle if isinstance(event, TokenEvent)]
    assert "".join(said) == last.answer


def test_a_stream_may_be_left(client: Client) -> None:
    stream = client.stream(QUESTION)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert client.ask(QUESTION).answer


def test_the_asynchronous_one_does_the_same(server: Running) -> None:
    async def work() -> None:
        async with AsyncClient(server.url, key=KEY) as client:
            replies = await asyncio.gather(*(client.ask(f"{QUESTION} {n}") for n in range(8)))
            assert len({reply.id for reply in replies}) == 8
            events = [event async for event in client.stream(QUESTION)]
            assert isinstance(events[-1], AskReply)
            assert (await client.search(QUESTION, k=1)).passages[0].document == "Japan"
            assert (await client.document("Japan")).title == "Japan"
            assert (await client.feedback(replies[0], "down")).rating == "down"
            assert (await client.health()).status == "ok"
            with pytest.raises(ServerError, match="malformed"):
                await client.ask("")

    asyncio.run(work())


def test_refusals_say_why(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(server.url, key="wrong") as client, pytest.raises(ServerError) as caught:
        client.ask(QUESTION)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    with Client(server.url, key="wrong") as client, pytest.raises(ServerError, match="key is"):
        list(client.stream(QUESTION))
    monkeypatch.setenv("RAGWRIGHT_API_KEY", KEY)
    with Client(server.url) as client, pytest.raises(ServerError, match="no document") as caught:
        client.document("nothing")
    assert len(caught.value.request_id) == 32


def test_a_server_that_is_not_there_is_one_line() -> None:
    with Client("http://127.0.0.1:9", key="") as client:
        with pytest.raises(ServerError, match="cannot be reached"):
            client.ask(QUESTION)
        with pytest.raises(ServerError, match="cannot be reached"):
            list(client.stream(QUESTION))


class _Stranger(BaseHTTPRequestHandler):
    """Some other server: HTML for everything, and a stream that breaks off or is nonsense."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b"<html>Back soon</html>")

    def do_POST(self) -> None:
        self.send_response(200 if "stream" in self.path else 418)
        kind = "text/event-stream" if "stream" in self.path else "text/html"
        self.send_header("Content-Type", kind)
        self.end_headers()
        strange = b"event: weather\ndata: rain\n\n" if "strange" in self.path else b""
        self.wfile.write(b'event: token\ndata: {"text": "Tok"}\n\n' + strange)

    def log_message(self, *args: object) -> None:
        pass


def test_a_stranger_is_recognised() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with Client(f"http://127.0.0.1:{server.server_port}", key="") as client:
            with pytest.raises(ServerError, match="status 418 and no words of a ragwright"):
                client.ask(QUESTION)
            with pytest.raises(ServerError, match="ended before the answer did"):
                list(client.stream(QUESTION))
            with pytest.raises(ServerError, match="status 503 and no words of a ragwright"):
                client.health()
        client = Client(f"http://127.0.0.1:{server.server_port}/strange", key="")
        with client, pytest.raises(ServerError, match="an event 'weather' that no ragwright"):
            list(client.stream(QUESTION))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_command_asks_a_server(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGWRIGHT_API_KEY", KEY)
    ran = CliRunner().invoke(app, ["ask", QUESTION, "--server", server.url])
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    assert "Tokyo" in lines[0]
    assert lines[1].startswith("[1] Japan, characters 0-")
    ran = CliRunner().invoke(app, ["ask", QUESTION, "--server", server.url, "--json"])
    assert "Tokyo" in json.loads(ran.stdout)["answer"]
    ran = CliRunner().invoke(app, ["ask", QUESTION, "--server", server.url, "--input", "lang=de"])
    assert "takes no such input" in ran.stderr  # handed on
    ran = CliRunner().invoke(app, ["ask", QUESTION, "--server", server.url, "--lm", "extractive"])
    assert "Leave --artifact, --index and --lm out" in ran.stderr
    ran = CliRunner().invoke(app, ["ask", QUESTION, "--server", "http://127.0.0.1:9"])
    assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)


class Restarting:
    """A client of an answer that is begun anew, as where a reply could not be read."""

    def stream(self, question: str, **_: object) -> Iterator[object]:
        yield TokenEvent(text="1. The")
        yield RestartEvent()
        yield TokenEvent(text="Tokyo.")
        yield AskReply.model_construct(answer="Tokyo.")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("people", "said"), [(True, "1. The ... (begins anew)\nTokyo.\n"), (False, "Tokyo.\n")]
)
def test_an_answer_that_is_begun_anew_is_shown_once(
    people: bool, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: people)
    _printed(Restarting(), QUESTION, None)  # type: ignore[arg-type]
    assert capsys.readouterr().out == said


def test_the_client_loads_no_model_and_no_dspy() -> None:
    code = (
        "import sys, ragwright.artifacts.client\n"
        "print('dspy' in sys.modules, 'fastapi' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout.strip(), ran.stderr) == ("False False", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "There is no artifact"),
        (["../.."], "There is no artifact"),
        (["HOME@7"], "has no version '7'"),
        (["HOME", "--host", "0.0.0.0"], "there is no API key"),
        (["HOME", "--workers", "0"], "cannot be set up so: workers"),
        (["HOME", "--rate", "often"], "cannot be set up so: rate"),
        (["HOME", "--log-level", "loud"], "cannot be set up so: log_level"),
        (["HOME", "--proxy", "10.0.0.0/8"], "such as 10.0.0.7"),
        (["HOME", "--allow-host", "rag.example:80"], "no name such as app.example"),
        (["HOME", "--allow-host", "http://rag.example/"], "no name such as app.example"),
        (["HOME", "--allow-origin", "rag"], "allowed_origins: 'rag' is no origin"),
        (["HOME", "--port", "0", "--store", "/dev/null/kept"], "The feedback store"),
    ],
)
def test_serving_refuses_what_cannot_work(home: Path, arguments: list[str], message: str) -> None:
    chosen = [word.replace("HOME", str(home)) for word in arguments]
    ran = CliRunner().invoke(app, ["serve", *chosen])
    assert (ran.exit_code, ran.stderr.count("\n")) == (2, 1)
    assert message in ran.stderr


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (lambda: Client(NOWHERE).ask("\ud800"), InputError),
        (lambda: Client(NOWHERE).ask("x", where={"year": math.nan}), InputError),
        (lambda: Client(NOWHERE).search("x", where={"year": {1, 2}}), InputError),
        (lambda: next(Client(NOWHERE).stream("x", more="\udc00")), InputError),
        (lambda: Client(NOWHERE).document("\ud800"), InputError),
        (lambda: Client(NOWHERE, key="k\xe9y"), InputError),
        (lambda: AsyncClient(NOWHERE, key="two\nlines"), InputError),
        (lambda: Client("http://[::1"), ServerError),
    ],
)
def test_what_cannot_be_sent_is_said(said: Callable[[], object], kind: type[RagError]) -> None:
    with pytest.raises(kind) as caught:
        said()
    assert caught.value.hint


@pytest.mark.parametrize(
    "words",
    [
        ("--server", "http://[::1", "x"), ("--server", "http://127.0.0.1:1", "h\udcffi"),
        ("--server", "http://127.0.0.1:1", "x", "--input", "y=[NaN]"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_line(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["ask", *words])
    assert (done.exit_code, done.stderr[:7], done.stderr.count("\n")) == (2, "error: ", 1)
