"""Streams an answer as server-sent events, in our form and as OpenAI's clients expect it.

The work runs in a task of its own, which holds its place in the queue and gives it back whether
the client stays or goes. Whatever happens, a stream that has begun ends with an event that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel

from ragwright.artifacts.server.answering import Early
from ragwright.artifacts.server.errors import log_failure, refusal_body, refused_request
from ragwright.artifacts.server.replies import passage_reply
from ragwright.artifacts.server.service import AdmittedQuestion, Service
from ragwright.artifacts.wire import AskReply, RestartEvent, RetrievalEvent, TokenEvent
from ragwright.programs.streaming import Restarted, Retrieved, Token

PING_SECONDS = 15.0
"""A comment is sent this often while nothing happens, so that no proxy closes the stream."""

Item = Early | AskReply | Exception
Spell = Callable[[Item], bytes]


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


async def open_stream(service: Service, asked: AdmittedQuestion, spell: Spell) -> EventStream:
    """Begin to answer, and return the response once there is something to send.

    What goes wrong before the first event is raised, so that it has its own HTTP status.

    Args:
        spell: Turns an item into bytes; it sees exactly one `AskReply` or exception, at the end.
    """
    items: asyncio.Queue[Item] = asyncio.Queue()

    async def work() -> AskReply:
        return await service.ask(asked, items.put_nowait)

    def finished(task: asyncio.Task[AskReply]) -> None:
        items.put_nowait(_ending(task))

    task = asyncio.create_task(work())
    task.add_done_callback(finished)
    try:
        first = await items.get()
    except asyncio.CancelledError:
        task.cancel()
        raise
    if isinstance(first, Exception):
        raise first
    return EventStream(
        _events(first, items, task, spell),
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _ending(task: asyncio.Task[AskReply]) -> AskReply | Exception:
    """What a stream ends with: a client waits for it, however the work ended.

    A program may raise what is no `Exception`, or be cancelled by a library of its own.
    """
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is None:
        return task.result()
    if isinstance(error, Exception):
        return error
    broken = RuntimeError(f"the answer ended by {type(error).__name__}")
    broken.__cause__ = error
    return broken


async def _events(
    first: Item, items: asyncio.Queue[Item], task: asyncio.Task[AskReply], spell: Spell
) -> AsyncIterator[bytes]:
    try:
        item: Item = first
        while not isinstance(item, AskReply | Exception):
            yield spell(item)
            while (following := await _next(items)) is None:
                yield KEEPALIVE_COMMENT
            item = following
        if isinstance(item, Exception):
            log_failure(item)
        yield spell(item)
    finally:
        task.cancel()


async def _next(items: asyncio.Queue[Item]) -> Item | None:
    with suppress(TimeoutError):
        return await asyncio.wait_for(items.get(), PING_SECONDS)
    return None


def named_event(item: Item) -> bytes:
    """Spell an item as an event with a name: retrieval, token, restart, done or error."""
    match item:
        case Retrieved():
            found = [passage_reply(passage) for passage in item.passages]
            return json_event("retrieval", RetrievalEvent(passages=found))
        case Token():
            return json_event("token", TokenEvent(text=item.text))
        case Restarted():
            return json_event("restart", RestartEvent())
        case AskReply():
            return json_event("done", item)
        case _:
            return json_event("error", refusal_body(refused_request(item)))


def json_event(name: str | None, data: BaseModel) -> bytes:
    """Return one event with a JSON body."""
    return format_sse_event(event=name, data_str=data.model_dump_json())
