"""Replies of a language model's server: cut off at a size and a time, whatever the server sends.

DSPy's client waits for each piece of a reply, and takes as many as come: a body without an end, or
one that unpacks to gigabytes, would take the memory of the process, and a piece now and then its
time. What is told of tokens is made plain on the way: no answer is lost to its bill. Knows neither
prompts nor answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from ragwright.programs.dspy_internals import (
    AsyncTransport,
    ReadError,
    ReadTimeout,
    Transport,
)
from ragwright.programs.usage import plain_usage

MOST_BYTES = 32 << 20
"""Of one reply, unpacked: a hundred times what is read of an answer."""
STREAM_SECONDS = 3600.0
"""Of one streamed reply; any other has as long as the client waits for one piece."""
MOST_PAUSE = 300
"""Seconds before a call is made again, whatever the server asks for."""
_PAUSES = {"retry-after": 1, "retry-after-ms": 1000, "x-ms-retry-after-ms": 1000}
_STREAM = "text/event-stream"
_USAGE = b'"usage"'

Chunks = Iterator[bytes]
Headers = list[tuple[str, str]]


class LimitedTransport(Transport):
    """What DSPy's client sends requests through, with limits on what comes back."""

    def body(self, chunks: Chunks, content_type: str, seconds: float) -> Chunks:
        stream = content_type.startswith(_STREAM)
        return limited(chunks, Meter(STREAM_SECONDS if stream else seconds), stream=stream)

    def head(self, headers: Headers) -> Headers:
        return patient(headers)


class LimitedAsyncTransport(AsyncTransport):
    """The same for calls that are awaited."""

    def body(
        self, chunks: AsyncIterator[bytes], content_type: str, seconds: float
    ) -> AsyncIterator[bytes]:
        stream = content_type.startswith(_STREAM)
        return alimited(chunks, Meter(STREAM_SECONDS if stream else seconds), stream=stream)

    def head(self, headers: Headers) -> Headers:
        return patient(headers)


def patient(headers: Headers) -> Headers:
    """Return headers that ask for no longer a pause than `MOST_PAUSE`: the client would keep it."""
    return [(name, _pause(text, _PAUSES.get(name.lower()))) for name, text in headers]


def _pause(text: str, unit: float | None) -> str:
    if unit is None:
        return text
    try:
        asked = float(text)
    except ValueError:
        try:
            asked = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, OSError):
            return text
    return text if asked <= MOST_PAUSE * unit else f"{MOST_PAUSE * unit:g}"


class Meter:
    """Counts one reply, and says when it is too much.

    Args:
        seconds: How long it may take from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._until, self._seconds = time.monotonic() + seconds, seconds
        self._size = 0

    def count(self, chunk: bytes) -> None:
        """Take a piece into account.

        Raises:
            ReadError: The reply is too large.
            ReadTimeout: It takes too long.
        """
        self._size += len(chunk)
        if self._size > MOST_BYTES:
            raise ReadError(f"the reply is larger than {MOST_BYTES >> 20} MB")
        if time.monotonic() > self._until:
            raise ReadTimeout(f"the reply was not whole after {self._seconds:g} s")


def limited(chunks: Chunks, meter: Meter, *, stream: bool) -> Chunks:
    """Yield the body of a reply again, whole if it is no stream, lines of it otherwise."""
    held = bytearray()
    try:
        for chunk in chunks:
            meter.count(chunk)
            held += chunk
            if stream:
                yield from _lines(held)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    yield _told(bytes(held))


async def alimited(
    chunks: AsyncIterator[bytes], meter: Meter, *, stream: bool
) -> AsyncIterator[bytes]:
    """Like `limited`, for a client that awaits."""
    held = bytearray()
    try:
        async for chunk in chunks:
            meter.count(chunk)
            held += chunk
            if stream:
                for line in _lines(held):
                    yield line
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
    yield _told(bytes(held))


def _lines(held: bytearray) -> Chunks:
    """Take the whole lines out of what is held."""
    end = held.rfind(b"\n") + 1
    if end:
        lines = bytes(held[:end])
        del held[:end]
        yield b"".join(map(_told, lines.splitlines(keepends=True))) if _USAGE in lines else lines


def _told(body: bytes) -> bytes:
    """Return a body, or an event of a stream, with plain numbers of tokens."""
    if _USAGE not in body:
        return body
    field, json_ = (b"data:", body[5:]) if body.startswith(b"data:") else (b"", body)
    try:
        said: Any = json.loads(json_)
    except (ValueError, RecursionError):
        return body
    if not isinstance(said, dict) or "usage" not in said:
        return body
    told = plain_usage(said["usage"])
    if told == said["usage"]:
        return body
    end = b"\n" if body.endswith(b"\n") else b""
    return field + json.dumps({**said, "usage": told}).encode() + end
