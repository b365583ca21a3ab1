"""Who is let in, how often, and what happens when there is too much to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import dspy
import httpx
import pytest
from dspy.lm15 import Request, Response

from ragwright.artifacts.server import ServerSettings, create_app, run
from ragwright.artifacts.server.auth import Doorkeeper
from ragwright.artifacts.server.errors import RefusedRequest
from ragwright.artifacts.server.settings import check_address, is_loopback, read_keys
from ragwright.artifacts.store import save
from ragwright.programs.extractive import AsyncExtractiveEngine, ExtractiveEngine
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import InputError
from tests.artifacts.server.conftest import KEY, Running, Serve, until

QUESTION = "What is the capital of Peru?"


@dataclass
class Held:
    """A language model that answers when it is let go; it fails with `error` if there is one."""

    error: Exception | None = None
    asked: int = 0
    go: threading.Event = field(default_factory=threading.Event)

    def put_into(self, server: Running) -> None:
        engine = _Engine(self)
        asynchronous = AsyncExtractiveEngine(engine)
        lm = dspy.LM("local/held", engine=engine, async_engine=asynchronous, cache=False)
        server.app.state.service.serving.current.program.set_lm(lm)


class _Engine(ExtractiveEngine):
    def __init__(self, held: Held) -> None:
        super().__init__("hash")
        self.held = held

    def complete(self, request: Request) -> Response:
        self.held.asked += 1
        assert self.held.go.wait(60)
        if self.held.error:
            raise self.held.error
        return super().complete(request)


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.go.set()


# Keys and rates


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": f"Bearer {KEY}x"}, 401),
        ({"Authorization": "Bearer \u00e9".encode("latin-1")}, 401),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": "Bearer another-key-of-the-tests"}, 200),
    ],
)
def test_only_those_with_a_key_are_let_in(serve: Serve, sent: dict, status: int) -> None:
    with serve(keys=(KEY, "another-key-of-the-tests"), wait=False) as server:
        until(lambda: server.client.get("/readyz").status_code == 200)
        for path in ("/v1/models", "/metrics", "/v1/document?id=Peru"):
            response = httpx.get(server.url + path, headers=sent)
            assert response.status_code == status
            if status == 401:
                assert response.json()["error"]["type"] == "authentication_error"
                assert response.headers["www-authenticate"] == "Bearer"


def test_without_keys_everybody_on_the_machine_is_let_in(serve: Serve) -> None:
    with serve(keys=()) as server:
        assert httpx.get(f"{server.url}/v1/models").status_code == 200


def test_each_key_has_its_own_rate(serve: Serve) -> None:
    keys = (KEY, "another-key-of-the-tests")
    with serve(keys=keys, rate="3/hour") as server:
        codes = [server.client.get("/v1/models").status_code for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        refused = server.client.get("/v1/models")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        other = {"Authorization": f"Bearer {keys[1]}"}
        assert httpx.get(f"{server.url}/v1/models", headers=other).status_code == 200
        assert server.client.get("/healthz").status_code == 200


def test_a_clock_that_is_set_back_locks_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = iter([48.0, 48.0, 48.5, 0.0, 0.5, 0.6, 2.0])
    keeper = Doorkeeper((), "2/hour")
    for expected in (True, True, False, True, True, False, True):
        moment = 3600 * next(hours)
        monkeypatch.setattr("time.time", lambda now=moment: now)
        assert _let_in(keeper) is expected


def _let_in(keeper: Doorkeeper) -> bool:
    try:
        keeper.admit(None, "127.0.0.1")
    except RefusedRequest:
        return False
    return True


def test_nobody_gets_a_rate_of_its_own_by_naming_another_address(serve: Serve) -> None:
    with serve(keys=(), rate="3/hour") as server:
        heads = [{"X-Forwarded-For": f"10.0.0.{n}"} for n in range(4)]
        codes = [server.client.get("/v1/models", headers=head).status_code for head in heads]
        assert codes == [200, 200, 200, 429]


def test_a_page_of_another_origin_is_turned_away(serve: Serve) -> None:
    with serve(keys=()) as server:
        response = httpx.get(f"{server.url}/v1/models", headers={"Host": "evil.example"})
        assert (response.status_code, response.json()["error"]["code"]) == (421, "wrong_host")
        for name in ("localhost:1@evil.example", "[::1].evil.example", "[::1", "::1"):
            assert httpx.get(f"{server.url}/healthz", headers={"Host": name}).status_code == 421
        for name in ("localhost:1", "[::1]:80", "127.0.0.1"):
            assert httpx.get(f"{server.url}/healthz", headers={"Host": name}).status_code == 200
        form = httpx.post(f"{server.url}/v1/ask", content=b'{"question": "x"}')
        assert form.status_code == 422, "a body that is not declared as JSON needs no preflight"


def test_a_name_can_be_allowed(serve: Serve) -> None:
    with serve(keys=(), allowed_hosts=("Rag.example",)) as server:
        for named in ("rag.example:443", "RAG.EXAMPLE", "LOCALHOST"):
            head = {"Host": named, "Origin": "https://rag.example"}
            assert server.client.get("/healthz", headers=head).status_code == 200


def test_a_probe_asks_by_the_address_of_the_machine(serve: Serve) -> None:
    with serve(host="0.0.0.0", allowed_hosts=("rag.example",)) as server:
        head = {"Host": "10.1.2.3:8600"}
        for path, status in {"/healthz": 200, "/readyz": 200, "/": 421, "/v1/models": 421}.items():
            assert server.client.get(path, headers=head).status_code == status


ORIGINS = {
    "http://evil.example": 403,
    "https://localhost.evil.example": 403,
    "http://localhost@evil.example": 403,
    "http://localhost:80@evil.example": 403,
    "http://[::1].evil.example": 403,
    "null": 403,
    "http://localhost:3000": 200,
    "http://127.0.0.1": 200,
    "http://[::1]:80": 200,
    "http://[": 403,
    "http://": 403,
    "vscode-webview://abc": 200,
}


def test_a_foreign_page_is_known_by_its_origin_where_no_key_is_needed(serve: Serve) -> None:
    """Not even a request that it may not read the answer of: each costs a language model."""
    with serve(keys=(), mcp=True) as server:
        for origin, status in ORIGINS.items():
            head = {"Origin": origin, "Accept": "application/json, text/event-stream"}
            ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            codes = [
                server.client.get("/v1/models", headers=head).status_code,
                server.client.post("/mcp/", json=ping, headers=head).status_code,
            ]
            assert codes == [status, status], origin
    with serve(keys=(), allowed_hosts=("rag.example",)) as server:
        own = {"Host": "Rag.example:8000", "Origin": "http://rag.example:8000"}
        assert server.client.get("/v1/models", headers=own).status_code == 200
    with serve() as server:
        head = {"Origin": "http://evil.example"}
        assert server.client.get("/v1/models", headers=head).status_code == 200, "it has a key"


PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


def test_pages_of_an_origin_that_was_named_may_ask(serve: Serve) -> None:
    app, evil = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}
    with serve(allowed_origins=("https://App.example/",)) as server:
        plain = httpx.options(f"{server.url}/v1/ask", headers=app | PREFLIGHT)
        assert (plain.status_code, plain.headers["access-control-allow-origin"]) == (
            200, "https://app.example",
        )  # fmt: skip
        assert "authorization" in plain.headers["access-control-allow-headers"]
        refused = httpx.options(f"{server.url}/v1/ask", headers=evil | PREFLIGHT)
        assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (
            400, False,
        )  # fmt: skip
        keyless = httpx.post(f"{server.url}/v1/ask", json={"question": QUESTION}, headers=app)
        assert keyless.status_code == 401
        assert keyless.headers["access-control-allow-origin"] == "https://app.example"
        answer = server.client.post("/v1/ask", json={"question": QUESTION}, headers=app)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        with server.client.stream(
            "POST", "/v1/ask/stream", json={"question": QUESTION}, headers=app
        ) as stream:
            assert stream.headers["access-control-allow-origin"] == "https://app.example"
        other = server.client.post("/v1/ask", json={"question": QUESTION}, headers=evil)
        assert "access-control-allow-origin" not in other.headers
    with serve() as server:
        assert httpx.options(f"{server.url}/v1/ask", headers=app | PREFLIGHT).status_code == 401
    with serve(keys=(), allowed_origins=("https://app.example",)) as server:
        codes = [
            server.client.post("/v1/ask", json={"question": QUESTION}, headers=head).status_code
            for head in (app, evil)
        ]
        assert codes == [200, 403]


@pytest.mark.parametrize("origin", ["app.example", "https://a/b", "https://*", "", "null"])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(InputError, match="origin"):
        ServerSettings.checked(artifact="x", allowed_origins=(origin,))


def test_every_page_may_ask_only_where_there_is_a_key() -> None:
    settings = ServerSettings.checked(artifact="x", allowed_origins=("*",))
    with pytest.raises(InputError, match="Any page"):
        check_address(settings, has_keys=False)
    check_address(settings, has_keys=True)


# Too much at once


def test_one_more_than_the_queue_holds_is_refused(serve: Serve, held: Held) -> None:
    with serve(concurrency=2, queue=3) as server, ThreadPoolExecutor(8) as pool:
        held.put_into(server)
        asked = [pool.submit(server.ask, f"{QUESTION} {n}") for n in range(5)]
        until(lambda: (server.metric("ragwright_queue"), held.asked) == (3, 2))
        refused = server.ask(QUESTION)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        with server.client.stream("POST", "/v1/ask/stream", json={"question": QUESTION}) as late:
            assert late.status_code == 429
        assert server.client.get("/healthz").status_code == 200
        held.go.set()
        assert [one.result().status_code for one in asked] == [200] * 5
        assert server.metric("ragwright_queue") == server.metric("ragwright_in_work") == 0


def test_a_question_that_takes_too_long_is_given_up(serve: Serve, held: Held) -> None:
    with serve(timeout=1.0) as server:
        held.put_into(server)
        response = server.ask(QUESTION)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "timeout")
        assert response.headers["retry-after"] == "2"
        names = [name for name, _ in server.events(question=QUESTION)]
        assert names == ["retrieval", "error"]
        held.go.set()
        until(lambda: server.ask(QUESTION).status_code == 200)
        assert server.metric("ragwright_answers_total", outcome="timeout") >= 2


def test_a_client_that_leaves_gives_its_place_back(serve: Serve, held: Held) -> None:
    with serve(concurrency=1) as server:
        held.put_into(server)
        with server.client.stream("POST", "/v1/ask/stream", json={"question": QUESTION}) as stream:
            assert next(stream.iter_lines()) == "event: retrieval"
        until(lambda: server.metric("ragwright_in_work") == 0)
        held.go.set()
        assert server.ask(QUESTION).status_code == 200
        assert server.metric("ragwright_answers_total", outcome="cancelled") == 1


def _saved(program: dspy.Module, recipe: Recipe, folder: Path, *, falls_back: bool) -> str:
    fallback = recipe.fallback.model_copy(update={"enabled": falls_back, "failures": 1000})
    save(program, folder, recipe=recipe.model_copy(update={"fallback": fallback}))
    return str(folder)


SECRET = "https://user:password@inside.example"


def test_a_failing_model_is_said_and_nothing_more(
    serve: Serve, program: dspy.Module, recipe: Recipe, tmp_path: Path
) -> None:
    failing = Held(error=dspy.lm15.AuthError(SECRET))
    failing.go.set()
    artifact = _saved(program, recipe, tmp_path / "strict", falls_back=False)
    with serve(artifact=artifact) as server:
        failing.put_into(server)
        response = server.ask(QUESTION)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "model_failed")
        assert "inside.example" not in response.text
        events = server.events(question=QUESTION)
        assert [name for name, _ in events] == ["retrieval", "error"]
        assert events[-1][1]["error"]["code"] == "model_failed"
        chat = server.events(
            "/v1/chat/completions",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
        )
        assert chat[-1][1]["error"]["code"] == "model_failed"


def test_what_falls_back_is_told_and_not_kept(
    serve: Serve, program: dspy.Module, recipe: Recipe, tmp_path: Path
) -> None:
    failing = Held(error=dspy.lm15.AuthError(SECRET))
    failing.go.set()
    artifact = _saved(program, recipe, tmp_path / "lenient", falls_back=True)
    with serve(artifact=artifact) as server:
        failing.put_into(server)
        response = server.ask(QUESTION)
        assert response.status_code == 200
        found = response.json()
        assert found["degraded"] == [{"stage": "respond", "used": "the passages alone"}]
        assert (found["answer"], found["passages"][0]["document"]) == ("", "Peru")
        assert "inside.example" not in response.text
        assert server.events(question=QUESTION)[-1][1]["degraded"]
        assert server.metric("ragwright_degraded_total", stage="respond") == 2
        failing.error = None
        again = server.ask(QUESTION).json()
        assert ("Lima" in again["answer"], again["degraded"], again["cached"]) == (True, [], False)


def test_an_unforeseen_error_is_a_plain_500(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with serve() as server:
        server.app.state.service.serving.current.program.retriever = None
        response = server.ask(QUESTION)
        assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")
        assert "NoneType" not in response.text
        assert response.headers["x-request-id"] == response.json()["error"]["request_id"]
    assert any(record.exc_info for record in caplog.records)


# Settings


def test_beyond_loopback_a_key_is_needed() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "rag.example"):
        with pytest.raises(InputError, match="no API key"):
            create_app(ServerSettings(artifact="x", host=host), keys=())
        assert create_app(ServerSettings(artifact="x", host=host), keys=(KEY,))
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9")] == [
        True
    ] * 4


def test_keys_come_from_the_environment() -> None:
    assert read_keys({}) == ()
    assert read_keys({"RAGWRIGHT_API_KEYS": f" {KEY} , {KEY}2,"}) == (KEY, f"{KEY}2")
    with pytest.raises(InputError, match="fewer than 16"):
        read_keys({"RAGWRIGHT_API_KEYS": "short"})
    for odd in ("schlüssel" * 3, "a" * 16 + "\0", "a" * 16 + "\nb", "a " * 16, "\udcff" * 16):
        with pytest.raises(InputError, match="of ASCII"):
            read_keys({"RAGWRIGHT_API_KEYS": f"{KEY},{odd}"})


@pytest.mark.parametrize(
    "wrong", [{"rate": "often"}, {"port": 70000}, {"concurrency": 0}, {"unknown": 1}]
)
def test_a_wrong_setting_is_one_line(wrong: dict) -> None:
    with pytest.raises(InputError, match="cannot be set up") as caught:
        ServerSettings.checked(artifact="x", **wrong)
    assert "\n" not in str(caught.value)


def test_the_log_level_is_that_of_the_server_too(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(run, "_run", lambda settings: None)
    for level in ("error", "info"):
        run.serve(ServerSettings(artifact="x", port=0, log_level=level))
        assert root.level == logging.getLevelNamesMapping()[level.upper()]
