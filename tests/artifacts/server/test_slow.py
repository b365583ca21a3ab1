"""Clients that take their time: given up after a while, whatever they send of it."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from ragwright.artifacts.server import patience
from ragwright.artifacts.server.patience import PatientProtocol, most_connections
from tests.artifacts.server.conftest import KEY, Running, Serve, until
from tests.servers.ports import free_port

pytestmark = pytest.mark.slow

QUESTION = "What is the capital of Peru?"
SERVE = """
import sys
from ragwright.artifacts.server.run import serve
from ragwright.artifacts.server.settings import ServerSettings
serve(ServerSettings.model_validate_json(sys.argv[1]))
"""


@pytest.fixture
def impatient(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Serve:
    monkeypatch.setattr(PatientProtocol, "head_seconds", 1.0)
    return serve


def opened(server: Running) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


@pytest.mark.parametrize("first", [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_head_that_never_ends_is_given_up(impatient: Serve, first: bytes) -> None:
    with impatient() as server, opened(server) as raw:
        raw.sendall(first)
        assert raw.recv(100) == b""


def test_a_head_a_byte_at_a_time_is_given_up(impatient: Serve) -> None:
    with impatient() as server, opened(server) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            dribble(raw)


def dribble(raw: socket.socket) -> None:
    for _ in range(3000):  # for a minute, if it is let
        raw.sendall(b"x")
        time.sleep(0.02)


def test_300_slow_connections_are_gone_and_nobody_waited_for_them(impatient: Serve) -> None:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with impatient() as server:
        slow = [opened(server) for _ in range(min(300, files // 3))]
        try:
            assert server.ask(QUESTION).status_code == 200
            assert all(raw.recv(1) == b"" for raw in slow)
        finally:
            for raw in slow:
                raw.close()
        assert server.ask(QUESTION).status_code == 200


def test_connections_leave_files_to_work_with(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 0 < most_connections() < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with serve() as server:
        monkeypatch.setattr(patience, "most_connections", lambda: 3)
        server.client.get("/healthz")  # holds one
        with opened(server) as one, opened(server) as two, opened(server) as more:
            assert more.recv(100).startswith(b"HTTP/1.1 503 ")
            assert server.ask(QUESTION).status_code == 200
            one.close()
            two.close()
            until(lambda: _is_taken(server))


def _is_taken(server: Running) -> bool:
    with opened(server) as raw:
        raw.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return raw.recv(100).startswith(b"HTTP/1.1 200")


def test_a_connection_that_is_used_stays(impatient: Serve) -> None:
    """Idle times between requests are uvicorn's to bound."""
    with impatient() as server, opened(server) as raw:
        for _ in range(3):
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said = b""
            while not said.endswith(b'{"status":"ok"}'):
                part = raw.recv(4096)
                assert part, said
                said += part
            time.sleep(1.2)


def test_a_body_in_chunks_of_a_byte_is_read_or_refused(impatient: Serve) -> None:
    body = json.dumps({"question": QUESTION}).encode()
    with impatient() as server, opened(server) as raw:
        head = f"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for byte in body:
            raw.sendall(b"1\r\n" + bytes([byte]) + b"\r\n")
        raw.sendall(b"0\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 ")


BEGUN = {
    "head": (b"", b"x"),
    "body": (b"Content-Length: 1000\r\n\r\n", b" "),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a chunk's size": (b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "a chunk's extension": (b"Transfer-Encoding: chunked\r\n\r\n1;", b"a"),
    "a trailer": (b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X"),
}
PATHS = ["/v1/ask", "/v1/ask/stream", "/v1/chat/completions", "/v1/feedback", "/mcp/", "/", "/no"]


def test_whatever_drips_wherever_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is sent to every connection, until the server has closed it."""
    head = f"HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    with serve(timeout=0.5, mcp=True) as server:
        monkeypatch.setattr(PatientProtocol, "head_seconds", 0.5)
        dripping = {}
        for path in PATHS:
            for how, (begun, drop) in BEGUN.items():
                raw = opened(server)
                raw.sendall(f"POST {path} {head}".encode() + begun)
                raw.settimeout(0.001)
                dripping[path, how] = raw, drop
        assert server.client.get("/healthz").status_code == 200
        until(lambda: not _still_open(dripping), 60)


def _still_open(dripping: dict[tuple[str, str], tuple[socket.socket, bytes]]) -> bool:
    """Send each connection a little more, and drop those that were closed."""
    for name, (raw, drop) in list(dripping.items()):
        try:
            raw.sendall(drop)
            gone = _at_end(raw)
        except (BrokenPipeError, ConnectionResetError):
            gone = True
        if gone:
            raw.close()
            del dripping[name]
    return bool(dripping)


def _at_end(raw: socket.socket) -> bool:
    try:
        while raw.recv(4096):
            pass
    except TimeoutError:
        return False
    return True


def flood(raw: socket.socket, asking: bytes) -> None:
    """Send as much as both ends' buffers take, which depends on the system."""
    while True:
        raw.sendall(asking)


def test_an_answer_that_nobody_reads_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that the system's buffers do not hold wait in the server's memory."""
    monkeypatch.setattr(PatientProtocol, "stall_seconds", 0.5)
    asking = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serve() as server, opened(server) as raw:
        raw.settimeout(300)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            flood(raw, asking * 1000)
        assert server.ask(QUESTION).status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_over_questions_that_never_repeat(home: Path, tmp_path: Path) -> None:
    """`make attack` asks 20,000: RAGWRIGHT_UNIQUE."""
    count = int(os.environ.get("RAGWRIGHT_UNIQUE", "300"))
    port = free_port()
    settings = {"artifact": str(home), "port": port, "feedback": "", "cache_entries": 100}
    settings["log_level"] = "warning"
    command = [sys.executable, "-c", SERVE, json.dumps(settings)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            until(lambda: server.poll() is not None or _ready(client), 300)
            assert server.poll() is None, (tmp_path / "log").read_text()
            sizes = []
            for number in range(count):
                body = {"question": f"{number}: what is the capital of Peru, {number}?"}
                assert client.post("/v1/ask", json=body).status_code == 200
                if number in (count // 2, count - 1):
                    sizes.append(_resident(server.pid))
    finally:
        server.terminate()
        server.wait(300)
    half, whole = sizes
    assert whole - half < 8 * 2**20 + 4096 * count / 10, sizes


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return 1024 * int(found[1])
