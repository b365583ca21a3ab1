"""The outermost layer: request ids, the Host header, body limits, the access log, counting.

Plain ASGI, so that streams pass through untouched. Knows no route.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable
from typing import Any

from h11 import LocalProtocolError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragwright.artifacts.server.access import FILTER_HEADER
from ragwright.artifacts.server.auth import PEER, Doorkeeper, key_in, peer_of
from ragwright.artifacts.server.context import set_request_id
from ragwright.artifacts.server.errors import (
    RefusedRequest,
    log_failure,
    refusal_response,
    refused_request,
)
from ragwright.artifacts.server.logs import FACTS
from ragwright.artifacts.server.metrics import Metrics
from ragwright.artifacts.server.settings import LARGEST_HEAD, ServerSettings, is_loopback

log = logging.getLogger("ragwright.access")


SAID_ONCE = ("authorization", "host", "origin")
_PLACE = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]@]+))(?::[0-9]*)?")
LOCKED = ("/v1/", "/mcp")
"""Where bodies are read, and a key is needed if there are keys."""

MONITORED = ("/healthz", "/readyz")
"""What load balancers and Kubernetes ask, by whatever address the machine has."""


class Peer:
    """Notes who is at the other end of a connection, before a proxy's headers say who is behind.

    Who may see what depends on the first, and only names and rates on the second: anybody can
    send such a header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[PEER] = scope.get("client")
        await self._app(scope, receive, send)


class RequestGuard:
    """Wraps an app; what it refuses never reaches the app."""

    def __init__(
        self, app: ASGIApp, *, settings: ServerSettings, metrics: Metrics, doorkeeper: Doorkeeper
    ) -> None:
        self._doorkeeper = doorkeeper
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # monitors ask so; uvicorn knows, and sends the head alone
            scope = {**scope, "method": "GET"}
        # As if it were not there: a redirect would name the scheme that a proxy speaks here.
        scope["path"] = scope["path"].removesuffix("/") or "/"
        headers = Headers(scope=scope)
        request_id = set_request_id(headers.get("x-request-id", ""))
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        started = time.perf_counter()
        try:
            await self._guarded(headers, scope, receive, noted)
        except (ClientDisconnect, LocalProtocolError):
            log.debug("gone")  # it left, or broke the protocol and was told so: no reply is due
        except Exception as error:
            log_failure(error)
            if status:
                raise
            await refusal_response(refused_request(error))(scope, receive, noted)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    async def _guarded(self, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            _check_head(scope)
            if not (self._settings.public and scope["path"] in MONITORED):
                self._check_host(headers.get("host", ""))
            self._check_origin(headers.get("origin", ""), headers.get("host", ""))
            if scope["path"].startswith(LOCKED):
                # A stranger's body is not even read.
                self._doorkeeper.check(key_in(headers.get("authorization", "")), peer_of(scope))
            body = await self._body(headers, receive)
        except RefusedRequest as error:
            await refusal_response(error, headers={"Connection": "close"})(scope, receive, send)
            return
        await self._app(scope, _replayed(body, receive), send)

    def _check_origin(self, origin: str, host: str) -> None:
        """A page of another origin has no key; where none is needed, it is known by its origin.

        The server's own page is at the address that was asked. Applications have origins too, with
        schemes of their own: `vscode-webview://...`.
        """
        scheme, _, place = origin.casefold().partition("://")
        page = scheme in {"null", "http", "https"}
        if self._doorkeeper.closed or not page or place == host.casefold():
            return
        if origin.casefold() in self._settings.allowed_origins:
            return
        name = _name_in(place)
        if not is_loopback(name) and name not in self._settings.allowed_hosts:
            what = "Pages of another origin cannot ask a server that needs no key."
            raise RefusedRequest(403, "wrong_origin", what, hint="Name it with --allow-origin.")

    def _check_host(self, host: str) -> None:
        """A page of another origin may point its name at loopback; then the name gives it away."""
        name = _name_in(host)
        settings = self._settings
        if (settings.public and not settings.allowed_hosts) or name in settings.allowed_hosts:
            return
        if not is_loopback(name):
            what = f"This server is not called {name[:100]!r}."
            raise RefusedRequest(421, "wrong_host", what, hint="Name it with --allow-host.")

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        most = self._settings.max_body
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > most:
            raise _too_large(most)
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(self._settings.timeout):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect  # what has come is not all
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    more = message.get("more_body", False)
                    if size > most:
                        raise _too_large(most)
        except TimeoutError as error:
            raise RefusedRequest(408, "too_slow", "The request's body did not arrive.") from error
        return b"".join(parts)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        self._metrics.requests.labels(route, status).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        facts: dict[str, Any] = {
            "method": scope["method"],
            "path": scope["path"][:200],
            "status": status,
            "milliseconds": round(1000 * seconds, 1),
            "caller": scope.get("ragwright.caller", ""),
        }
        log.info("request", extra={FACTS: facts})


def _replayed(body: bytes, receive: Receive) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    def again() -> Awaitable[Message]:
        return _immediately(left.pop()) if left else receive()

    async def _immediately(message: Message) -> Message:
        return message

    return again


def _name_in(place: str) -> str:
    """The name or address in `name:port` or `[address]:port`; "" in anything else."""
    found = _PLACE.fullmatch(place)
    return (found[1] or found[2]).casefold() if found else ""


def _check_head(scope: Scope) -> None:
    """The parser bounds what is incomplete, not what arrives all at once.

    Of two headers that say who asks, or what it may see, it would be chance which one holds. And a
    proxy that ends a body by the other of two lengths would pass on a second request within it, as
    it was written by a caller: with that proxy's own headers.
    """
    names = [name.decode("latin-1") for name, _ in scope["headers"]]
    if twice := [name for name in (*SAID_ONCE, FILTER_HEADER) if names.count(name) > 1]:
        raise RefusedRequest(400, "ambiguous_head", f"The header {twice[0]!r} is given twice.")
    if {"content-length", "transfer-encoding"} <= set(names):
        raise RefusedRequest(400, "ambiguous_head", "The body's length is given in two ways.")
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if size > LARGEST_HEAD:
        raise RefusedRequest(
            431, "head_too_large", f"The headers have more than {LARGEST_HEAD} bytes."
        )


def _too_large(most: int) -> RefusedRequest:
    return RefusedRequest(413, "too_large", f"The request's body has more than {most} bytes.")
