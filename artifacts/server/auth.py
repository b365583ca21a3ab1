"""Who may ask, and how often: API keys and rates.

Knows keys by their hashes only; a caller's name in logs is the first half of one.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from ragwright.artifacts.server.errors import Refused
from ragwright.artifacts.server.settings import KEYS

bearer = HTTPBearer(auto_error=False, description=f"One of the keys in {KEYS}, if it is set.")


class Doorkeeper:
    """Checks keys in constant time and counts requests per key.

    Args:
        keys: The keys that are let in; none means that everybody is.
        rate: Such as "60/minute"; "" for any.
    """

    def __init__(self, keys: tuple[str, ...], rate: str) -> None:
        self._digests = tuple(_digest(key) for key in keys)
        self._rates: tuple[RateLimitItem, ...] = tuple(parse_many(rate)) if rate else ()
        self._counter = MovingWindowRateLimiter(MemoryStorage())

    def admit(self, key: str | None, address: str) -> str:
        """Return the caller's name.

        Raises:
            Refused: The key is missing or wrong (401), or asked too often (429).
        """
        caller = self._identify(key) if self._digests else address
        for rate in self._rates:
            if not self._counter.hit(rate, caller):
                reset = self._counter.get_window_stats(rate, caller).reset_time
                raise Refused(
                    429,
                    "rate_limited",
                    f"More than {rate}.",
                    hint="Ask less often.",
                    retry_after=max(math.ceil(reset - time.time()), 1),
                )
        return caller

    def check(self, key: str | None) -> None:
        """Make sure of a key without counting a request.

        Raises:
            Refused: The key is missing or wrong (401).
        """
        if self._digests:
            self._identify(key)

    def _identify(self, key: str | None) -> str:
        given = _digest(key or "")
        # Every digest is compared, and each in constant time: time says nothing about the keys.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        if not any(matches):
            what = "There is no API key in the request." if not key else "The API key is wrong."
            hint = "Send it as `Authorization: Bearer KEY`."
            raise Refused(401, "invalid_api_key", what, hint=hint)
        return given.hex()[:8]


async def caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> str:
    """Let the caller of a route in, and return its name."""
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    address = request.client.host if request.client else "unknown"
    name = doorkeeper.admit(credentials.credentials if credentials else None, address)
    request.scope["ragwright.caller"] = name
    return name


Caller = Annotated[str, Depends(caller)]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
