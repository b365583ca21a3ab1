"""Each key sees what it may see: in answers, searches, streams, chats, documents and feedback."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import dspy
import httpx
import pytest

from ragwright.artifacts.server import ServerSettings, create_app
from ragwright.artifacts.server.access import FILTER_HEADER, Access, ApiKey, all_keys, digest_of
from ragwright.artifacts.server.run import check_port
from ragwright.artifacts.server.swap import ServedVersion
from ragwright.artifacts.store import save
from ragwright.programs.build import build_program, index_settings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document, Passage, Scalar
from tests.artifacts.server.conftest import Running, parse_events, running

pytestmark = pytest.mark.slow

TEAMS = ("sales", "law", "lab")
KEYS = {team: f"the-key-of-{team}-0123456789" for team in TEAMS}
ALL = "the-key-of-everybody-0123456789"
WORDS = ["river", "contract", "price", "acid", "letter", "bridge", "salary", "recipe"]
REQUESTS = 200
"""`make attack` asks 10,000 times: RAGWRIGHT_REQUESTS."""


def documents() -> list[Document]:
    drawn = random.Random(0)
    found = []
    for team in (*TEAMS, "nobody"):
        for number in range(12):
            words = " ".join(drawn.choices(WORDS, k=12))
            text = f"The secret {team}secret of {number}: {words}."
            facts: dict[str, Scalar] = {"team": team, "level": number % 3}
            found.append(Document(f"{team}-{number}", text, f"{team} {number}", facts))
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("access")
    table = {"name": "teams", "index": {"path": str(folder / "index"), "embedder": "hash"}}
    recipe = Recipe.checked({**table, "knobs": {"k": 4, "neighbours": 1}})
    ingest(documents(), recipe.index.path, index_settings(recipe))
    save(build_program(recipe), folder / "artifact", recipe=recipe)
    settings = ServerSettings(
        artifact=str(folder / "artifact"), feedback=str(folder / "feedback.sqlite"), mcp=True
    )
    keys = [ApiKey(digest_of(KEYS[team]), {"team": team}) for team in TEAMS]
    with running(create_app(settings, keys=(ApiKey(digest_of(ALL)), *keys)), wait=False) as started:
        started.client.headers["Authorization"] = f"Bearer {ALL}"
        wait(started)
        yield started
    close_index(folder / "index")


def wait(server: Running) -> None:
    from tests.artifacts.server.conftest import until

    until(lambda: server.client.get("/readyz").status_code == 200)


FILTERS: list[Any] = [
    None, {"team": "law"}, {"team": {"$ne": "sales"}}, {"$or": [{"team": "lab"}, {"level": 1}]},
    {"team": {"$nin": ["x"]}}, {"level": {"$gte": 0}}, {"nothing": {"$ne": 1}}, {"team": "nobody"},
]  # fmt: skip


def ask(client: httpx.Client, drawn: random.Random, ids: list[str]) -> httpx.Response:
    """Send one request of any kind that could show something."""
    question = " ".join(drawn.choices([*WORDS, *(f"{team}secret" for team in TEAMS)], k=3))
    body = {"question": question, "where": drawn.choice(FILTERS)}
    match drawn.randrange(6):
        case 0:
            return client.post("/v1/ask", json=body)
        case 1:
            return client.post("/v1/ask/stream", json=body)
        case 2:
            return client.post("/v1/search", json={**body, "k": drawn.randint(1, 50)})
        case 3:
            id = f"{drawn.choice((*TEAMS, 'nobody'))}-{drawn.randrange(12)}"
            return client.get("/v1/document", params={"id": id})
        case 4:
            said = [{"role": "user", "content": question}]
            return client.post(
                "/v1/chat/completions", json={"messages": said, "stream": drawn.random() < 0.5}
            )
    rated = {"answer_id": drawn.choice(ids), "rating": "up"}
    return client.post("/v1/feedback", json=rated)


def test_no_key_sees_what_another_may_see(server: Running, request: pytest.FixtureRequest) -> None:
    import os

    drawn = random.Random(1)
    wanted = int(os.environ.get("RAGWRIGHT_REQUESTS", REQUESTS))
    everything = [server.ask(word).json()["id"] for word in WORDS]
    seen = dict.fromkeys(TEAMS, 0)
    for number in range(wanted):
        team = TEAMS[number % 3]
        with_key = {"Authorization": f"Bearer {KEYS[team]}"}
        server.client.headers.update(with_key)
        response = ask(server.client, drawn, everything)
        assert response.status_code in (200, 201, 404), response.text
        if response.request.url.path == "/v1/feedback":
            assert response.status_code == 404
        seen[team] += f"{team}secret" in response.text
        others = {f"{other}secret of" for other in (*TEAMS, "nobody")} - {f"{team}secret of"}
        assert not [other for other in others if other in response.text], (team, response.request)
    server.client.headers["Authorization"] = f"Bearer {ALL}"
    assert min(seen.values()) > wanted / 20  # it is not silence that leaks nothing


def test_one_keys_answer_is_no_others_from_the_cache(server: Running) -> None:
    found = {}
    for team in TEAMS:
        headers = {"Authorization": f"Bearer {KEYS[team]}"}
        for _ in range(2):
            reply = server.client.post("/v1/ask", json={"question": "secret"}, headers=headers)
            found[team] = reply.json()
        assert found[team]["cached"]
        assert {p["document"].partition("-")[0] for p in found[team]["passages"]} == {team}


def test_what_one_asked_for_is_not_what_another_may_see(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One who sees all may ask within another's filter, and is answered unchecked."""
    program = server.app.state.service.serving.current.program
    held = server.client.get("/v1/document", params={"id": "law-1"}).json()["pieces"][0]
    foreign = Passage(held["text"], id=held["id"], metadata={"document": "law-1"})

    async def careless(self: Any, **asked: Any) -> Any:
        return dspy.Prediction(answer=str(foreign), passages=[foreign], citations=[1])

    monkeypatch.setattr(type(program), "aforward", careless)
    asked = {"question": "a secret that is kept"}
    told = server.client.post("/v1/ask", json={**asked, "where": {"team": "lab"}})
    assert "lawsecret of" in told.text
    headers = {"Authorization": f"Bearer {KEYS['lab']}"}
    assert "lawsecret of" not in server.client.post("/v1/ask", json=asked, headers=headers).text


@pytest.mark.parametrize(("gone", "status"), [(1, 200), (9, 503)])
def test_what_was_ingested_meanwhile_is_found_again(
    server: Running, monkeypatch: pytest.MonkeyPatch, gone: int, status: int
) -> None:
    """What was found, and is gone before it is checked, is looked for once more, never shown."""
    left, real = [gone], ServedVersion.passing

    def passing(served: ServedVersion, ids: Sequence[str], where: Mapping[str, Any]) -> set[str]:
        left[0] -= 1
        return real(served, ids, where) if left[0] < 0 else set()

    monkeypatch.setattr(ServedVersion, "passing", passing)
    monkeypatch.setattr(ServedVersion, "holding", lambda served, ids: set())
    headers = {"Authorization": f"Bearer {KEYS['law']}"}
    for path in ("/v1/search", "/v1/ask"):
        left[0] = gone
        reply = server.client.post(path, json={"question": f"law {gone}"}, headers=headers)
        assert reply.status_code == status, reply.text
        assert ("index_changed" in reply.text) == (status == 503)
    left[0] = gone
    asked = {"question": f"lawsecret {gone}"}
    said = server.client.post("/v1/ask/stream", json=asked, headers=headers).text
    assert ("event: done" in said) == (status == 200)


def test_only_who_may_see_an_answer_may_rate_it(server: Running) -> None:
    headers = {team: {"Authorization": f"Bearer {KEYS[team]}"} for team in TEAMS}
    asked = server.client.post("/v1/ask", json={"question": "law"}, headers=headers["law"])
    rated = {"answer_id": asked.json()["id"], "rating": "up"}
    codes = [
        server.client.post("/v1/feedback", json=rated, headers=sent).status_code
        for sent in (headers["sales"], headers["law"], {"Authorization": f"Bearer {ALL}"})
    ]
    assert codes == [404, 201, 201]


def test_agents_see_what_their_key_may_see(server: Running) -> None:
    headers = {
        "Authorization": f"Bearer {KEYS['lab']}",
        "Accept": "application/json, text/event-stream",
    }
    arguments = {"question": "secret", "where": {"team": {"$ne": "lab"}}}
    for sent, some in ((arguments, False), ({"question": "secret"}, True)):
        call = {"name": "search", "arguments": sent}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        said = server.client.post("/mcp/", json=body, headers=headers)
        assert said.status_code == 200, said.text
        assert ("labsecret" in said.text) == some
        assert "lawsecret of" not in said.text
        assert "salessecret of" not in said.text


def test_tools_do_not_tell_how_many_documents_there_are(server: Running) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {**SPEAKS, "Authorization": f"Bearer {KEYS['lab']}"}
    said = server.client.post("/mcp/", json=body, headers=headers)
    assert "Find passages" in said.text
    assert " documents (index " not in said.text


def test_a_program_that_heeds_no_filter_is_held_to_it(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = server.app.state.service.serving.current.program
    aforward = type(program).aforward

    async def careless(self: Any, **asked: Any) -> Any:
        return await aforward(self, **{**asked, "where": None})

    monkeypatch.setattr(type(program), "aforward", careless)
    headers = {"Authorization": f"Bearer {KEYS['lab']}"}
    body = {"question": "lawsecret contract of the careless"}
    said = server.client.post("/v1/ask", json=body, headers=headers)
    assert said.status_code == 200
    assert "lawsecret of" not in said.text
    stream = server.client.post("/v1/ask/stream", json=body, headers=headers)
    assert "lawsecret of" not in stream.text
    assert parse_events(stream.text)[-1][0] == "done"


def said_in_a_trailer(server: Running, name: str, value: str) -> bytes:
    """What comes back where a header comes after the body: a proxy removes it from heads alone."""
    head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body = '{"question": "secret"}'
    chunks = f"{len(body):x}\r\n{body}\r\n0\r\n{name}: {value}\r\n\r\n"
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 0), timeout=60) as raw:
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n{chunks}".encode())
        return raw.recv(65536)


def test_a_proxy_says_what_its_callers_may_see(server: Running) -> None:
    base = server.app.state.settings.model_copy(update={"proxies": ("127.0.0.1",), "mcp": False})
    with running(create_app(base, keys=()), wait=False) as behind:
        wait(behind)
        for given, status in (
            (None, 403), ("", 403), ("law", 403), ("[]", 403), ('{"$near": 1}', 403),
            ("[" * 9000, 403), ('{"team": NaN}', 403), ("{}", 200), ('{"team": "law"}', 200),
        ):  # fmt: skip
            headers = {} if given is None else {FILTER_HEADER: given}
            said = behind.client.post("/v1/search", json={"question": "secret"}, headers=headers)
            assert said.status_code == status, given
        assert {p["document"].partition("-")[0] for p in said.json()["passages"]} == {"law"}
        assert said_in_a_trailer(behind, FILTER_HEADER, "{}").startswith(b"HTTP/1.1 403 ")
    elsewhere = base.model_copy(update={"proxies": ("192.0.2.1",)})
    with running(create_app(elsewhere, keys=()), wait=False) as shut:
        headers = {FILTER_HEADER: "{}"}
        assert shut.client.get("/v1/models", headers=headers).status_code == 403


CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "search", "arguments": {"question": "secret"}}}  # fmt: skip
SPEAKS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


@pytest.mark.parametrize(
    "behind", ["203.0.113.9", "192.0.2.1", "203.0.113.9, 192.0.2.1", "\x1b[2J"]
)
def test_no_header_says_who_connected(server: Running, behind: str) -> None:
    """A proxy tells whom it speaks for, which nobody can use to pass for the proxy."""
    base = server.app.state.settings
    said = {FILTER_HEADER: '{"team": "law"}', "X-Forwarded-For": behind, **SPEAKS}
    body = {"question": "secret"}
    named = base.model_copy(update={"proxies": ("127.0.0.1",)})
    with running(create_app(named, keys=()), wait=False) as open_:
        wait(open_)
        assert open_.client.post("/v1/search", json=body, headers=said).status_code == 200
        called = open_.client.post("/mcp/", json=CALL, headers=said).json()["result"]
        found = called["structuredContent"]["passages"]
        assert {one["document"].partition("-")[0] for one in found} == {"law"}
    elsewhere = base.model_copy(update={"proxies": ("192.0.2.1",)})
    with running(create_app(elsewhere, keys=()), wait=False) as shut:
        assert shut.client.post("/v1/search", json=body, headers=said).status_code == 403
        assert shut.client.post("/mcp/", json=CALL, headers=said).status_code == 403


def test_an_agent_is_told_of_documents_it_may_not_see_what_it_is_told_of_none(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Authorization": f"Bearer {KEYS['law']}", **SPEAKS}
    for id in (
        "sales-1",
        "%73ales-1",
        "..%2fsales-1",
        "nothing",
        "sales-1%00",
        "%ed%a0%80",
        "{id}",
    ):
        read = {**CALL, "method": "resources/read", "params": {"uri": f"ragwright://document/{id}"}}
        said = server.client.post("/mcp/", json=read, headers=headers).json()
        assert said["error"]["code"] == -32602
        assert "salessecret" not in said["error"]["message"]
    assert not [record for record in caplog.records if record.exc_info]


def test_two_filters_are_both_heeded() -> None:
    access = Access("a", {"team": "law"})
    assert access.narrowed({"$or": [{"team": "lab"}]}) == {
        "$and": [{"team": "law"}, {"$or": [{"team": "lab"}]}]
    }
    assert access.narrowed(None) == {"team": "law"}
    assert Access("a").narrowed(None) is None


def test_a_server_file_names_keys_and_what_they_see(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(
        '[[keys]]\nenv = "LAW"\nwhere = {team = "law"}\n'
        f'[[keys]]\nsha256 = "{digest_of(ALL).hex()}"\n'
    )
    law, rest = all_keys(str(file), {"LAW": KEYS["law"]})
    assert (law.digest, law.where) == (digest_of(KEYS["law"]), {"team": "law"})
    assert (rest.digest, rest.where) == (digest_of(ALL), None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("keys = 3", "wrong"),
        ("[[keys]]", "give either"),
        ('[[keys]]\nenv = "GONE"', "holds no API key"),
        ('[[keys]]\nenv = "TWO"', "holds 2 API keys"),
        ('[[keys]]\nenv = "LAW"\nwhere = {team = {"$near" = 1}}', "Unknown filter"),
        ('[[keys]]\nenv = "LAW"\nwhere = {}', "empty"),
        ('[[keys]]\nenv = "LAW"\nwere = {team = "law"}', "wrong"),
        ('[[keys]]\nenv = "LAW"\n[[keys]]\nenv = "LAW"\nwhere = {team = "law"}', "twice"),
        ("[[keys", "not TOML"),
    ],
)
def test_a_server_file_that_is_wrong_opens_nothing(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=why):
        all_keys(str(file), {"LAW": KEYS["law"], "TWO": ",".join(list(KEYS.values())[:2])})


def test_a_strangers_body_is_not_read(server: Running) -> None:
    import socket

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as raw:
        head = b"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n"
        raw.sendall(head)  # and never a body
        reply = HTTPResponse(raw)
        reply.begin()
        said = json.loads(reply.read())
    assert reply.status == 401
    assert said["error"]["code"] == "invalid_api_key"


def test_a_port_in_use_is_said_before_anything_is_loaded() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1, port {port}"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)
    check_port("localhost", 0)
