"""Everything of DSPy's that DSPy does not promise to keep, in one place.

`tests/test_internals.py` fails by name when one of these moves.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import dspy
from dspy._vendor.lm15.serde import (
    request_from_dict,
    request_to_dict,
    response_from_dict,
    response_to_dict,
)
from dspy._vendor.lm15.transports import StdlibAsyncTransport, StdlibTransport
from dspy._vendor.lm15.transports._exceptions import ReadError, ReadTimeout
from dspy._vendor.lm15.types import StreamEvent
from dspy.adapters.json_adapter import _get_structured_outputs_response_format
from dspy.clients.backend_selection import CLIENT_KEYS
from dspy.clients.lm import _is_openai_reasoning_model
from dspy.primitives.code_interpreter import resolve_interpreter_factory
from dspy.utils.parallelizer import tqdm

from ragwright.programs.deadline import refuse_if_given_up, seconds_left

__all__ = [
    "CLIENT_KEYS",
    "AsyncTransport",
    "ReadError",
    "ReadTimeout",
    "ReplyKind",
    "StreamEvent",
    "Transport",
    "compiled_parts",
    "interpreter_of",
    "is_openai_reasoner",
    "keep_bars_apart",
    "mark_compiled",
    "request_from_dict",
    "request_to_dict",
    "response_format_of",
    "response_from_dict",
    "response_to_dict",
    "send_through",
]


def compiled_parts(program: dspy.Module) -> list[dspy.Module]:
    """Return the parts that a teleprompter has marked as compiled.

    DSPy leaves such a part out of its parents' parameters: what was tuned before would be dropped
    without a word.
    """
    return [part for _, part in program.named_sub_modules() if getattr(part, "_compiled", False)]


def mark_compiled(part: dspy.Module, compiled: bool) -> None:
    """Set or take away a part's mark."""
    part._compiled = compiled


def interpreter_of(part: dspy.Module) -> Any:
    """Return what makes the interpreter that a module runs code in; None if it runs none."""
    factory = getattr(part, "_interpreter_factory", None)
    return None if factory is None else resolve_interpreter_factory(factory)


def is_openai_reasoner(model: str) -> bool:
    """Whether DSPy takes a model for one of OpenAI's that reason."""
    return bool(_is_openai_reasoning_model(model))


def response_format_of(signature: type[dspy.Signature]) -> Any:
    """Return the pydantic class whose JSON schema asks for a signature's output fields.

    Raises:
        Exception: A field's type has no schema; what is raised depends on the type.
    """
    return _get_structured_outputs_response_format(signature, False)


class _Bars(WeakSet[Any]):
    """The progress bars that are open. One that DSPy has forgotten meanwhile may be taken away."""

    def remove(self, item: Any) -> None:
        self.discard(item)

    def clear(self) -> None:
        with tqdm.tqdm.get_lock():
            super().clear()


def keep_bars_apart() -> None:
    """Let several threads run programs that run `dspy.Parallel` or `batch`.

    Whenever one of them starts, DSPy empties tqdm's set of open bars. A bar that another thread is
    about to open, or to leave hidden, is then missing there, and the question that it belongs to
    fails with a KeyError. Nothing else is different with this set, so it stays.
    """
    if not isinstance(tqdm.tqdm._instances, _Bars):
        with tqdm.tqdm.get_lock():
            tqdm.tqdm._instances = _Bars(tqdm.tqdm._instances)


_STREAMED = re.compile(rb'"stream":\s*true')
_REFUSED = 400
_HEAD = "the head of the reply was not whole after {:g} s"


class _Until:
    """A socket that is read for so many seconds in all, however its bytes are dealt out."""

    def __init__(self, plain: Any, seconds: float) -> None:
        self._plain, self._seconds = plain, seconds
        self._until = time.monotonic() + seconds

    def settimeout(self, seconds: float) -> None:
        """Leave it at the time there is."""

    def recv(self, size: int) -> bytes:
        left = self._until - time.monotonic()
        if left > 0:
            self._plain.settimeout(left)
            try:
                return bytes(self._plain.recv(size))
            except TimeoutError:
                pass
        raise ReadTimeout(_HEAD.format(self._seconds))


@dataclass(frozen=True, slots=True)
class ReplyKind:
    """What kind of reply is read.

    Attributes:
        streams: Whether it is a stream of events.
        wanted: Whether a stream was asked for, and not refused by an error.
        seconds: How long the client waits for each piece of it.
        failed: Whether its status is that of a failure.
        chat: Whether it answers one of OpenAI's chats.
    """

    streams: bool
    wanted: bool
    seconds: float
    failed: bool = False
    chat: bool = False

    @property
    def unasked(self) -> bool:
        """Whether a chat is answered by a stream that nobody asked for."""
        return self.chat and self.streams and not self.wanted and not self.failed

    @classmethod
    def of(cls, request: Any, reply: Any, seconds: float) -> ReplyKind:
        """Tell the kind from what was asked and what stands in the reply's head."""
        kind = str(reply.header("content-type") or "").lower()
        streams = kind.startswith("text/event-stream")
        wanted = _STREAMED.search(request.body or b"") is not None
        failed = reply.status >= _REFUSED
        chat = request.url.partition("?")[0].endswith("/chat/completions")
        return cls(streams, wanted and not failed, seconds, failed, chat)


class Transport(StdlibTransport):
    """What DSPy's client sends its requests through; the body of a reply goes through `body`."""

    def body(self, chunks: Iterator[bytes], kind: ReplyKind) -> Iterator[bytes]:
        """Return what is read of a reply."""
        raise NotImplementedError

    def head(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return what is heeded of a reply's headers."""
        raise NotImplementedError

    def _read_head(self, conn: Any, *, read_timeout: float) -> Any:
        plain = conn.sock
        conn.sock = _Until(plain, seconds_left(read_timeout))
        try:
            return super()._read_head(conn, read_timeout=read_timeout)
        finally:
            conn.sock = plain

    def stream(self, request: Any) -> Any:
        refuse_if_given_up()
        reply = super().stream(request)
        reply.headers = self.head(reply.headers)
        reply._chunks = self.body(reply._chunks, ReplyKind.of(request, reply, self._read_timeout))
        return reply


class AsyncTransport(StdlibAsyncTransport):
    """The same for calls that are awaited."""

    def body(self, chunks: AsyncIterator[bytes], kind: ReplyKind) -> AsyncIterator[bytes]:
        """Return what is read of a reply."""
        raise NotImplementedError

    def head(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return what is heeded of a reply's headers."""
        raise NotImplementedError

    async def _read_head(self, conn: Any, *, read_timeout: float) -> Any:
        try:
            async with asyncio.timeout(seconds_left(read_timeout)):
                return await super()._read_head(conn, read_timeout=read_timeout)
        except TimeoutError as error:
            raise ReadTimeout(_HEAD.format(read_timeout)) from error

    async def _do_stream(self, request: Any) -> Any:
        refuse_if_given_up()
        reply = await super()._do_stream(request)
        reply.headers = self.head(reply.headers)
        reply._chunks = self.body(reply._chunks, ReplyKind.of(request, reply, self._read_timeout))
        return reply


def send_through(lm: dspy.LM, transport: type[Transport], awaited: type[AsyncTransport]) -> dspy.LM:
    """Let a language model and its copies send requests through transports of these classes.

    One that was pickled in between sends them as DSPy does.
    """
    lm._engine_store = _Engines(transport, awaited)
    return lm


class _Engines(dict[Any, Any]):
    """DSPy's clients of one language model, by loop and settings, made when they are needed."""

    def __init__(self, transport: type[Transport], awaited: type[AsyncTransport]) -> None:
        super().__init__()
        self._transports = {False: transport, True: awaited}

    def __setitem__(self, key: Any, engine: Any) -> None:
        made = self._transports[key[0] is not None]
        engine.router._transport = made(**engine.config.transport_kwargs())
        super().__setitem__(key, engine)
