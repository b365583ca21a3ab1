"""Limits replies of a language model's server to a size and a time, whatever it sends.

DSPy's client waits for each piece of a reply, and takes as many as come: a body without an end, or
one that unpacks to gigabytes, would take the memory of the process, and a piece now and then its
time. What stands around a text is made plain on the way (`reply_shapes`): no answer is lost to it.
Knows neither prompts nor answers.
"""

from __future__ import annotations

import json
import re
import time
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import dspy

from ragwright.programs.deadline import seconds_left
from ragwright.programs.dspy_internals import (
    AsyncTransport,
    ReadError,
    ReadTimeout,
    ReplyKind,
    Transport,
    send_through,
)
from ragwright.programs.reply_errors import NO_REPLY
from ragwright.programs.reply_shapes import (
    as_event,
    as_events,
    as_reply,
    complete_event_line,
    needs_normalizing,
    plain_reply,
    read_json,
)

MOST_BYTES = 32 << 20
"""Of one reply, unpacked: a hundred times what is read of an answer."""
STREAM_SECONDS = 3600.0
"""Of one streamed reply; any other has as long as the client waits for one piece."""
MOST_PAUSE = 300
"""Seconds before a call is made again, whatever the server asks for."""
_TEXT = re.compile(rb'"(?:content|text)":\s*"[^"]')
_PAUSES = {"retry-after": 1, "retry-after-ms": 1000, "x-ms-retry-after-ms": 1000}

Chunks = Iterator[bytes]
Headers = list[tuple[str, str]]


class LimitedTransport(Transport):
    """What DSPy's client sends requests through, with limits on what comes back."""

    def body(self, chunks: Chunks, kind: ReplyKind) -> Chunks:
        return limit_stream(chunks, ReplyMeter.of(kind), kind)

    def head(self, headers: Headers) -> Headers:
        return cap_retry_after(headers)


class LimitedAsyncTransport(AsyncTransport):
    """The same for calls that are awaited."""

    def body(self, chunks: AsyncIterator[bytes], kind: ReplyKind) -> AsyncIterator[bytes]:
        return alimit_stream(chunks, ReplyMeter.of(kind), kind)

    def head(self, headers: Headers) -> Headers:
        return cap_retry_after(headers)


def with_limits(lm: dspy.LM) -> dspy.LM:
    """Have a language model, and its copies, send requests through transports with limits."""
    return send_through(lm, LimitedTransport, LimitedAsyncTransport)


def cap_retry_after(headers: Headers) -> Headers:
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


class ReplyMeter:
    """Counts one reply, and says when it is too much.

    Args:
        seconds: How long it may take from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._until, self._seconds = time.monotonic() + seconds, seconds
        self._size = 0
        self.spoke = False
        """Whether text has come: what ends a stream after it leaves an answer."""

    @classmethod
    def of(cls, kind: ReplyKind) -> ReplyMeter:
        """Return one for a kind of reply."""
        return cls(seconds_left(STREAM_SECONDS if kind.streams else kind.seconds))

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


def limit_stream(chunks: Chunks, meter: ReplyMeter, kind: ReplyKind) -> Chunks:
    """Yield the body of a reply again, whole if it is no stream, lines of it otherwise."""
    held = bytearray()
    try:
        for chunk in chunks:
            meter.count(chunk)
            held += chunk
            if kind.streams and not kind.unasked:
                yield from _lines(held, kind, meter)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    yield from _rest(bytes(held), kind, meter)


async def alimit_stream(
    chunks: AsyncIterator[bytes], meter: ReplyMeter, kind: ReplyKind
) -> AsyncIterator[bytes]:
    """Like `limit_stream`, for a client that awaits."""
    held = bytearray()
    try:
        async for chunk in chunks:
            meter.count(chunk)
            held += chunk
            if kind.streams and not kind.unasked:
                for line in _lines(held, kind, meter):
                    yield line
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
    for piece in _rest(bytes(held), kind, meter):
        yield piece


def _lines(held: bytearray, kind: ReplyKind, meter: ReplyMeter) -> Chunks:
    """Take the whole lines out of what is held; the last sign may be the first half of an end."""
    if held.startswith(BOM_UTF8):
        del held[: len(BOM_UTF8)]
    end = max(held.rfind(b"\n"), held.rfind(b"\r", 0, -1)) + 1
    if end:
        lines = bytes(held[:end])
        del held[:end]
        yield b"".join(_event(line, kind, meter) for line in lines.splitlines(keepends=True))


def _event(line: bytes, kind: ReplyKind, meter: ReplyMeter) -> bytes:
    plain = _plain(line, kind, spoke=meter.spoke) if needs_normalizing(line) else line
    meter.spoke = meter.spoke or _TEXT.search(plain) is not None
    return complete_event_line(plain)


def _rest(body: bytes, kind: ReplyKind, meter: ReplyMeter) -> Chunks:
    """Yield what is held at the end: all of a reply that is no stream."""
    body = body.removeprefix(BOM_UTF8)
    if kind.unasked:
        body = json.dumps(as_reply(body)).encode()
    said = read_json(body) if kind.wanted and not kind.streams else None
    plain = _checked(plain_reply(said), kind)
    if isinstance(plain, dict) and ("choices" in plain or "error" in plain):
        yield from as_events(plain)
    elif kind.wanted:
        events = [_event(line, kind, meter) for line in body.splitlines(keepends=True)]
        silent = kind.chat and not kind.streams and not any(e.startswith(b"data:") for e in events)
        yield from [as_event(NO_REPLY)] if silent else events
    else:
        yield _plain(body, kind)


def _plain(body: bytes, kind: ReplyKind, *, spoke: bool = False) -> bytes:
    """Return a body, or a line of a stream, whose JSON is made plain; `spoke` if text came."""
    field, json_ = (b"data:", body[5:]) if body.startswith(b"data:") else (b"", body)
    said = read_json(json_)
    if said is None:
        return body
    end = b"\n" if body.endswith((b"\n", b"\r")) else b""
    plain = plain_reply(said, failed=kind.failed, spoke=spoke)
    return field + json.dumps(plain if field else _checked(plain, kind)).encode() + end


def _checked(said: Any, kind: ReplyKind) -> Any:
    """Return a whole reply; an error in the place of one that speaks another protocol."""
    choices = said.get("choices") if isinstance(said, dict) else [said]
    another = not (choices and isinstance(choices, list)) and not said.get("error")
    if not another or not kind.chat or kind.failed:
        return said
    return NO_REPLY
