"""The server's tools for agents, in the Model Context Protocol: `search`, `ask`, `document`.

Every tool asks the server's own HTTP routes, inside this process. So keys, filters, rates, limits
and errors are those of HTTP, and whatever version is served answers. The protocol is spoken by the
official SDK, over standard input and output (`rag mcp`) or streamable HTTP (`rag serve --mcp`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import unquote

import httpx
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp.server.mcpserver.resources.templates import ResourceSecurity
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel, Field
from starlette.routing import Route

from ragwright.artifacts.server.access import FILTER_HEADER
from ragwright.artifacts.server.auth import caller_address, key_in, peer_of
from ragwright.artifacts.server.errors import RefusedRequest
from ragwright.artifacts.store import read_artifact
from ragwright.artifacts.wire import AskReply, DocumentReply, SearchReply
from ragwright.retrievers.errors import ModelError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"
STEP = 0.05
"""Seconds between two looks whether the artifact is loaded."""
FORWARDED = ("authorization", FILTER_HEADER, "x-trace")
"""What a caller's request says about the caller, and is said again to the server's own routes.

From where it comes is not taken from its headers again: of several that say so, the app has chosen.
"""

ToolReply = TypeVar("ToolReply", bound=BaseModel)
FilterArgument = Annotated[
    dict[str, Any] | None,
    Field(description='Only passages whose metadata matches: {"year": {"$gte": 2020}}.'),
]


def agents_server(app: FastAPI) -> MCPServer:
    """Return the tools of a server's app; the app's lifespan has to run while they are used."""
    counted = app.state.doorkeeper.open_to_all
    described = _description(str(app.state.settings.artifact), counted=counted)
    server = MCPServer("ragwright", instructions=described, version=app.version)

    @server.tool(description=f"Find passages that bear on a question. {described}")
    async def search(
        question: Annotated[str, Field(description="What is looked for, in plain words.")],
        ctx: Context[Any, Any],
        k: Annotated[int | None, Field(ge=1, le=100, description="How many passages.")] = None,
        where: FilterArgument = None,
    ) -> SearchReply:
        body = {"question": question, "k": k, "where": where}
        return await _asked(app, ctx, "/v1/search", body, SearchReply)

    @server.tool(description=f"Answer a question, citing passages by number. {described}")
    async def ask(
        question: Annotated[str, Field(description="A complete question.")],
        ctx: Context[Any, Any],
        where: FilterArgument = None,
        inputs: Annotated[
            dict[str, Any] | None,
            Field(description="What the program takes besides the question, by name."),
        ] = None,
    ) -> AskReply:
        body = {**(inputs or {}), "question": question, "where": where}
        return await _asked(app, ctx, "/v1/ask", body, AskReply)

    @server.tool(description="Read a whole document, by the id that passages name.")
    async def document(
        id: Annotated[str, Field(description="The `document` of a passage.")],
        ctx: Context[Any, Any],
    ) -> DocumentReply:
        return await _document(app, ctx, id)

    # Ids are looked up in the index and never touch a file system.
    @server.resource(
        "ragwright://document/{id}",
        name="document",
        description="A document's text, by its percent-encoded id.",
        mime_type="text/plain",
        security=ResourceSecurity(exempt_params=frozenset({"id"})),
    )
    async def document_text(id: str, ctx: Context[Any, Any]) -> str:
        try:
            found = await _document(app, ctx, unquote(id))
        except ToolError as error:  # foreseen, and no crash to be logged with its traceback
            raise ResourceNotFoundError(str(error)) from error
        return "\n\n".join(piece.text for piece in found.pieces)

    return server


def mount_tools(app: FastAPI) -> MCPServer:
    """Add the tools to an app as streamable HTTP under `/mcp`; its lifespan runs `sessions`."""
    server = agents_server(app)
    # The app's own outermost layer checks the Host header, as for every route.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    inner = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        transport_security=security,
        max_request_body_size=app.state.settings.max_body,
    )
    app.router.routes.append(Route(PATH, _WithKey(app, inner)))
    return server


@asynccontextmanager
async def run_without_port(app: FastAPI) -> AsyncIterator[MCPServer]:
    """Run an app without a port, wait until its artifact is loaded, and yield its tools.

    Raises:
        ModelError: The artifact cannot be loaded.
    """
    async with app.router.lifespan_context(app):
        serving, background = app.state.service.serving, app.state.background
        while not serving.ready:
            problems = [*serving.problems, *(f"{name} failed" for name in background.failing)]
            if problems:
                raise ModelError(f"The artifact cannot be served: {'; '.join(problems)}.")
            await asyncio.sleep(STEP)
        yield agents_server(app)


class _WithKey:
    """Lets only those who have a key see which tools there are."""

    def __init__(self, app: FastAPI, inner: ASGIApp) -> None:
        self._app = app
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Nothing is ever sent unasked: a stream for that would stay open for ever, and empty.
            if scope["method"] == "GET":
                raise RefusedRequest(
                    405, "method_not_allowed", "There is nothing to listen to: POST."
                )
            sent = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            self._app.state.doorkeeper.check(key_in(sent), peer_of(scope))
        await self._inner(scope, receive, send)


async def _document(app: FastAPI, ctx: Context[Any, Any], id: str) -> DocumentReply:
    return await _asked(app, ctx, "/v1/document", None, DocumentReply, params={"id": id})


async def _asked(
    app: FastAPI,
    ctx: Context[Any, Any],
    path: str,
    body: Mapping[str, Any] | None,
    wanted: type[ToolReply],
    params: Mapping[str, str] | None = None,
) -> ToolReply:
    """Ask one of the app's routes as the caller.

    Raises:
        ToolError: The route refused; with the message that HTTP would have given.
    """
    given = ctx.headers or {}
    # As bytes: what a client sent need not be ASCII, and is looked at by the route.
    headers = [
        (name.encode(), given[name].encode("latin-1")) for name in FORWARDED if name in given
    ]
    headers.append((b"content-type", b"application/json"))
    request = ctx.request_context.request
    peer = "127.0.0.1" if request is None else peer_of(request.scope)
    if request is not None:
        headers.append((b"x-forwarded-for", caller_address(request, peer).encode()))
    transport = httpx.ASGITransport(app=app, client=(peer, 0))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as inside:
        said = body and {name: value for name, value in body.items() if value is not None}
        method = "GET" if body is None else "POST"
        # As the caller wrote it, NaN too: the route says what is wrong with it.
        content = None if said is None else json.dumps(said)
        reply = await inside.request(method, path, params=params, headers=headers, content=content)
    if reply.status_code >= 400:
        raise ToolError(_refusal(reply))
    return wanted.model_validate_json(reply.content)


def _refusal(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return f"The server answered with status {reply.status_code}."


def _description(artifact: str, *, counted: bool) -> str:
    """Say what is searched, and how well the program did on questions it was not tuned on.

    Every caller is told the same, so of how many documents only where all may see all of them.
    """
    manifest = read_artifact(artifact).manifest
    held = " and ".join(
        f"{index.documents} documents (index {index.fingerprint[:12]})"
        for index in manifest.bindings
    )
    over = f"Over {manifest.name!r}"
    said = [f"{over}: {held or 'no index'}." if counted else f"{over}, as much as you may see."]
    if (found := manifest.provenance.comparison) is not None:
        score = found.compiled
        said.append(
            f"Held-out {found.metric} {score.mean:.2f} "
            f"({score.low:.2f} to {score.high:.2f}, n = {found.n})."
        )
    return " ".join(said)
