"""Who may ask, and how often: API keys and rates.

Knows keys by their hashes only; a caller's name in logs is the first half of one.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from ragwright.artifacts.server.access import (
    FILTER_HEADER,
    Access,
    ApiKey,
    digest_of,
    header_filter,
)
from ragwright.artifacts.server.errors import RefusedRequest
from ragwright.artifacts.server.settings import KEYS

CLOCK_STEP = 1.0
"""Seconds that a clock may be set back without being noticed."""


class Doorkeeper:
    """Checks keys in constant time and counts requests per key.

    Args:
        keys: The keys that are let in; none means that everybody is.
        rate: Such as "60/minute"; "" for any.
        proxies: Addresses of proxies, the only ones that are let in if there are any: each request
            then says in a header what its caller may see.
    """

    def __init__(self, keys: tuple[ApiKey, ...], rate: str, proxies: tuple[str, ...] = ()) -> None:
        self._keys = keys
        self._proxies = frozenset(proxies)
        self._rates: tuple[RateLimitItem, ...] = tuple(parse_many(rate)) if rate else ()
        self._hits = MemoryStorage()
        self._counter = MovingWindowRateLimiter(self._hits)
        self._latest = 0.0

    @property
    def closed(self) -> bool:
        """Whether a caller has to say who it is."""
        return bool(self._keys or self._proxies)

    @property
    def open_to_all(self) -> bool:
        """Whether whoever is let in may see all."""
        return not self._proxies and all(key.where is None for key in self._keys)

    def admit(
        self, key: str | None, address: str, given: str | None = None, *, peer: str = ""
    ) -> Access:
        """Return the caller, with what it may see.

        Args:
            key: The key that it sent.
            address: Where the request comes from, as a proxy says if there is one.
            peer: The other end of the connection, which no header can say; `address` by default.
            given: The header in which a proxy says what its caller may see.

        Raises:
            Refused: The key is missing or wrong (401), the request is not from a proxy that it has
                to be from, or that says nothing (403), or it asked too often (429).
        """
        access = self._identify(key) if self._keys else Access(address)
        if self._proxies:
            self._check_peer(peer or address)
            access = Access(access.name, access.narrowed(header_filter(given)))
        self._count(access.name)
        return access

    def _count(self, caller: str) -> None:
        now = time.time()
        if now < self._latest - CLOCK_STEP:
            # Set back: requests of a time that is to come would count until it has.
            self._hits.reset()
        self._latest = now
        for rate in self._rates:
            if not self._counter.hit(rate, caller):
                reset = self._counter.get_window_stats(rate, caller).reset_time
                raise RefusedRequest(
                    429,
                    "rate_limited",
                    f"More than {rate}.",
                    hint="Ask less often.",
                    retry_after=max(math.ceil(reset - time.time()), 1),
                )

    def check(self, key: str | None, peer: str) -> None:
        """Make sure that somebody is let in, without counting a request.

        Raises:
            Refused: The key is missing or wrong (401), or the request is not from a proxy that it
                has to be from (403).
        """
        if self._keys:
            self._identify(key)
        if self._proxies:
            self._check_peer(peer)

    def _check_peer(self, peer: str) -> None:
        if peer not in self._proxies:
            raise RefusedRequest(403, "no_proxy", "This server answers its proxies alone.")

    def _identify(self, key: str | None) -> Access:
        given = digest_of(key or "")
        # Every digest is compared, and each in constant time: time says nothing about the keys.
        matches = [known for known in self._keys if hmac.compare_digest(given, known.digest)]
        if not matches:
            what = "There is no API key in the request." if not key else "The API key is wrong."
            hint = "Send it as `Authorization: Bearer KEY`."
            raise RefusedRequest(401, "invalid_api_key", what, hint=hint)
        return Access(given.hex()[:8], matches[0].where)


def key_in(authorization: str) -> str | None:
    """Return the key in an `Authorization` header."""
    kind, _, key = authorization.partition(" ")
    return key.strip() if kind.casefold() == "bearer" else None


class CallerCheck(HTTPBearer):
    """Lets the caller of a route in, and returns it; describes itself in the API's description."""

    async def __call__(self, request: Request) -> Access:  # type: ignore[override]
        doorkeeper: Doorkeeper = request.app.state.doorkeeper
        peer, headers = peer_of(request.scope), request.headers
        key = key_in(headers.get("authorization", ""))
        given = headers.get(FILTER_HEADER)
        access = doorkeeper.admit(key, caller_address(request, peer), given, peer=peer)
        request.scope["ragwright.caller"] = access.name
        request.scope[ACCESS] = access
        return access


def peer_of(scope: Mapping[str, Any]) -> str:
    """Return the address at the other end of a request's connection, whatever its headers say."""
    client = scope.get(PEER, scope.get("client"))
    return str(client[0]) if client else "unknown"


def caller_address(request: Request, peer: str) -> str:
    """Return who a caller is called by; what a proxy passed on and is no address names nobody."""
    host = request.client.host if request.client else peer
    if host == peer:
        return peer
    try:
        return str(ip_address(host))
    except ValueError:
        return peer


PEER = "ragwright.peer"
"""Where a request's scope keeps its connection's other end."""
ACCESS = "ragwright.access"
"""Where a request's scope keeps its caller."""

_CHECK = CallerCheck(
    scheme_name="HTTPBearer", description=f"One of the keys in {KEYS}, if it is set."
)

Caller = Annotated[Access, Depends(_CHECK)]
