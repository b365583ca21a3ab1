"""Tools for agents: the official client lists and calls them, over HTTP and over a pipe."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from ragwright.artifacts.server import ServerSettings, create_app, swap
from ragwright.artifacts.server.agents import run_without_port
from ragwright.retrievers.errors import ModelError

from .conftest import KEY, Running, Serve

TOOLS = {"search", "ask", "document"}
QUESTION = "What is the capital of France?"


def over_http(server: Running, use: Callable[[Client], Awaitable[Any]], key: str = KEY) -> Any:
    async def run() -> Any:
        async with AsyncExitStack() as stack:
            headers = {"Authorization": f"Bearer {key}"}
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=300))
            transport = streamable_http_client(f"{server.url}/mcp/", http_client=http)
            client = await stack.enter_async_context(Client(transport))
            return await use(client)

    return asyncio.run(run())


async def _everything(client: Client) -> dict[str, Any]:
    tools = (await client.list_tools()).tools
    found = await client.call_tool("search", {"question": QUESTION, "k": 2})
    said = await client.call_tool("ask", {"question": QUESTION})
    id = found.structured_content["passages"][0]["document"]
    whole = await client.call_tool("document", {"id": id})
    text = await client.read_resource(f"ragwright://document/{id}")
    missing = await client.call_tool("document", {"id": "../../etc/passwd"})
    wrong = await client.call_tool("search", {"question": QUESTION, "where": {"$eq": 1}})
    return {
        "tools": tools, "found": found.structured_content, "said": said.structured_content,
        "document": whole.structured_content, "text": str(getattr(text.contents[0], "text", "")),
        "missing": missing, "wrong": wrong,
    }  # fmt: skip


def _check(got: dict[str, Any]) -> None:
    assert {tool.name for tool in got["tools"]} == TOOLS
    search = next(tool for tool in got["tools"] if tool.name == "search")
    assert set(search.input_schema["properties"]) == {"question", "k", "where"}
    assert "documents (index " in search.description
    assert len(got["found"]["passages"]) == 2
    assert got["said"]["answer"]
    assert got["document"]["pieces"][0]["text"] in got["text"]
    assert got["missing"].is_error
    assert "holds no document" in got["missing"].content[0].text
    assert got["wrong"].is_error


def test_the_official_client_uses_all_tools_over_http(serve: Serve) -> None:
    with serve(mcp=True) as server:
        _check(over_http(server, _everything))


def test_without_a_key_there_are_no_tools(serve: Serve) -> None:
    with serve(mcp=True) as server:
        for path in ("/mcp/", "/mcp"):
            ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            assert httpx.post(f"{server.url}{path}", json=ping).status_code == 401
        with pytest.raises((MCPError, httpx2.HTTPError, ExceptionGroup)):
            over_http(server, lambda client: client.list_tools(), key="wrong")


def test_nobody_but_a_proxy_sees_which_tools_there_are(serve: Serve) -> None:
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    head = {"Accept": "application/json, text/event-stream"}
    with serve(mcp=True, keys=(), proxies=("192.0.2.1",)) as server:
        reply = server.client.post("/mcp", json=listing, headers=head)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "no_proxy")


def test_a_server_without_tools_has_no_such_path(serve: Serve) -> None:
    with serve() as server:
        assert server.client.post("/mcp/", json={}).status_code == 404


@pytest.mark.parametrize("path", ["/mcp/", "/mcp"])
def test_a_plain_client_of_the_protocol_is_answered(serve: Serve, path: str) -> None:
    """Written by hand, without the SDK: what goes over the wire is the protocol."""
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2025-06-18",
    }
    asked = {"name": "search", "arguments": {"question": QUESTION}}
    with serve(mcp=True) as server:
        reply = server.client.post(
            path,
            headers=headers,
            json={"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": asked},
        )
        assert reply.status_code == 200, reply.text
        result = reply.json()["result"]
        assert result["structuredContent"]["passages"]
        assert json.loads(result["content"][0]["text"])["passages"]


def test_what_a_tool_is_given_is_refused_by_the_route_it_asks(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    given = ('{"year": NaN}', '{"year": {"$gt": -Infinity}}', '{"$or": []}', '{"#document": 1}')
    with serve(mcp=True) as server:
        for where in given:
            arguments = f'{{"question": "x", "where": {where}}}'
            call = (
                '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", '
                f'"params": {{"name": "search", "arguments": {arguments}}}}}'
            )
            said = server.client.post("/mcp/", headers=headers, content=call).json()["result"]
            assert said["isError"]
            assert said["content"][0]["text"] != "Error executing tool search", where
    assert not [record for record in caplog.records if record.exc_info]


def test_a_rate_counts_the_caller_that_http_would_name(serve: Serve) -> None:
    """Some proxies add a line of their own beside what a caller wrote: the last one is theirs."""
    arguments = {"name": "search", "arguments": {"question": QUESTION}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": arguments}
    said = []
    with serve(mcp=True, keys=(), proxies=("127.0.0.1",), rate="2/minute") as server:
        for n in range(4):
            head = [
                (b"Accept", b"application/json, text/event-stream"), (b"X-Ragwright-Where", b"{}"),
                (b"X-Forwarded-For", b"10.0.0.%d" % n), (b"X-Forwarded-For", b"192.0.2.7"),
                (b"Authorization", b"Bearer \xe9"),
            ]  # fmt: skip
            reply = server.client.post("/mcp", json=call, headers=head).json()["result"]
            said.append((reply["isError"], reply["content"][0]["text"]))
    assert [failed for failed, _ in said] == [False, False, True, True]
    assert "More than" in said[-1][1]


def test_a_load_that_dies_is_said_and_not_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(*_: Any) -> Any:
        raise ValueError("x")

    monkeypatch.setattr(swap, "_load", dying)
    settings = ServerSettings(artifact=str(home), feedback="")

    async def run() -> None:
        async with asyncio.timeout(20), run_without_port(create_app(settings, keys=())):
            pass

    with pytest.raises(ModelError, match="versions failed"):
        asyncio.run(run())


def test_nobody_listens_for_what_is_never_sent(serve: Serve) -> None:
    """A stream of nothing would hold a connection for ever, and the server's end."""
    with serve(mcp=True) as server:
        head = {"Accept": "text/event-stream"}
        assert server.client.get("/mcp/", headers=head).status_code == 405


def test_the_official_client_uses_all_tools_over_a_pipe(home: Path) -> None:
    code = "from ragwright.artifacts.cli import main; main()"
    command = StdioServerParameters(
        command=sys.executable, args=["-c", code, "mcp", str(home)], env=dict(os.environ)
    )

    async def run() -> dict[str, Any]:
        async with Client(command) as client:
            return await _everything(client)

    _check(asyncio.run(run()))


def test_what_cannot_be_served_is_said_on_stderr(tmp_path: Path) -> None:
    code = "from ragwright.artifacts.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "mcp", str(tmp_path / "none")],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "error:" in done.stderr
