"""A server that is none of ours, asked by the client: cut off, whatever it sends."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ragwright.artifacts import reply_bounds
from ragwright.artifacts.client import AsyncClient, Client, ServerError

PACKED = gzip.compress(b" " * 50_000_000)


class _Hostile(BaseHTTPRequestHandler):
    """Sends what its path says, with the status 200, or 503 where the path says that too."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(503 if "refused" in self.path else 200)
        self.send_header("Content-Type", "text/event-stream")
        if "packed" in self.path:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(PACKED if "packed" in self.path else self.first)
            while "endless" in self.path:
                self.wfile.write(b"x" * 65536)

    def do_GET(self) -> None:
        self.do_POST()

    @property
    def first(self) -> bytes:
        return b"[" * 100_000 if "deep" in self.path else b"event: token\ndata: {"

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hostile)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("kind", ["endless", "packed", "deep", "endless/refused", "packed/refused"])
def test_what_a_server_sends_is_cut_off(
    address: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply_bounds, "MOST_BYTES", 1 << 20)

    async def awaited() -> None:
        async with AsyncClient(f"{address}/{kind}", key="") as client:
            with pytest.raises(ServerError):
                await client.ask("What?")
            with pytest.raises(ServerError):
                [event async for event in client.stream("What?")]

    with Client(f"{address}/{kind}", key="") as client:
        for call in (lambda: client.ask("What?"), lambda: list(client.stream("What?"))):
            with pytest.raises(ServerError) as refused:
                call()
            if "deep" not in kind:
                assert "larger than" in str(refused.value) or "packed" in str(refused.value)
    asyncio.run(awaited())


def test_what_drips_is_given_up(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_bounds, "MOST_SECONDS", 0.05)
    monkeypatch.setattr(reply_bounds, "MOST_BYTES", 1 << 40)
    given_up = pytest.raises(ServerError, match=r"not whole after 0\.05 s")
    with Client(f"{address}/endless", key="") as client, given_up:
        client.health()
