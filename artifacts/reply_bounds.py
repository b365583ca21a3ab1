"""Replies of a server that is asked: cut off at a size and a time, whatever it sends.

The address of a server may lead to anything: a body without an end, or one that unpacks to
gigabytes, would take the memory of whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

MOST_BYTES = 32 << 20
"""Of one reply, stream or not: a hundred times what an answer with its passages takes."""
MOST_SECONDS = 3600.0
"""Of one reply; how long each piece may take is the client's own setting."""
UNPACKED = {"Accept-Encoding": "identity"}
"""What every request carries: of a packed reply nobody knows how large it is."""


def bound(response: httpx.Response) -> None:
    """Have a response read within limits; called before any of its body is.

    Raises:
        httpx.DecodingError: Its body is packed.
    """
    packing = response.headers.get("content-encoding", "identity")
    if packing != "identity":
        raise httpx.DecodingError(f"the reply is packed ({packing[:20]!r})")
    response.stream = BoundedStream(response.stream)


async def abound(response: httpx.Response) -> None:
    """The same for a client that awaits."""
    bound(response)


class BoundedStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a reply, up to a limit."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left = MOST_BYTES
        self._until = time.monotonic() + MOST_SECONDS

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            yield self._counted(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield self._counted(chunk)

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _counted(self, chunk: bytes) -> bytes:
        self._left -= len(chunk)
        if self._left < 0:
            raise httpx.ReadError(f"the reply is larger than {MOST_BYTES >> 20} MB")
        if time.monotonic() > self._until:
            raise httpx.ReadTimeout(f"the reply was not whole after {MOST_SECONDS:g} s")
        return chunk
