"""A typed client for a running `rag serve`: `Client`, and `AsyncClient` with the same methods.

    with Client("http://127.0.0.1:8600") as client:
        print(client.ask("...").answer)

Needs httpx and Pydantic; loads neither DSPy nor any model. What is sent and how it is read is in
`calls.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, Self

import httpx
from httpx_sse import EventSource

from ragwright.artifacts import calls
from ragwright.artifacts.calls import KEY, STREAM, ApiRequest, Reply, ReplyEvent, ServerError
from ragwright.artifacts.reply_bounds import UNPACKED, abound, bound
from ragwright.artifacts.wire import AskReply, DocumentReply, FeedbackReply, Health, SearchReply
from ragwright.retrievers.types import Where

__all__ = ["KEY", "AsyncClient", "Client", "ReplyEvent", "ServerError", "Where"]


class Client:
    """Asks a server; safe to share between threads.

    Args:
        url: The server's address.
        key: Its API key; by default what RAGWRIGHT_API_KEY holds.
        timeout: Seconds to wait for each piece of an answer.

    Raises (every method):
        ServerError: The server refused, failed, or cannot be reached.
        InputError: Something cannot be sent: half a surrogate pair, NaN, an object.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 65.0) -> None:
        with calls.reached():
            self._http = httpx.Client(
                base_url=url,
                headers=calls.request_headers(key) | UNPACKED,
                timeout=timeout,
                event_hooks={"response": [bound]},
            )

    def ask(self, question: str, *, where: Where | None = None, **inputs: Any) -> AskReply:
        """Answer a question; `inputs` are what a program of one's own takes besides."""
        return self._send(calls.ask_call(question, where, inputs))

    def stream(
        self, question: str, *, where: Where | None = None, **inputs: Any
    ) -> Iterator[ReplyEvent]:
        """Answer a question piece by piece; closing the iterator gives the answer up."""
        sent = self._http.stream("POST", STREAM, **calls.ask_call(question, where, inputs).sent)
        with calls.reached(), sent as response:
            if not response.is_success:
                response.read()
            calls.check_response(response)
            event: ReplyEvent | None = None
            for said in EventSource(response).iter_sse():
                event = calls.parse_event(said)
                yield event
            calls.check_stream_end(event)

    def search(
        self, question: str, *, k: int | None = None, where: Where | None = None
    ) -> SearchReply:
        """Find passages."""
        return self._send(calls.search_call(question, k, where))

    def document(self, id: str) -> DocumentReply:
        """Return a document as the index holds it."""
        return self._send(calls.document_call(id))

    def feedback(
        self,
        answer: AskReply | str,
        rating: Literal["up", "down"],
        *,
        comment: str = "",
        correction: str = "",
    ) -> FeedbackReply:
        """Say what you think of an answer, and what it should have been."""
        return self._send(
            calls.feedback_call(answer, rating, comment=comment, correction=correction)
        )

    def health(self) -> Health:
        """Return what the server serves, and whether it can answer."""
        return self._send(calls.health_call())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _send(self, call: ApiRequest[Reply]) -> Reply:
        with calls.reached():
            return call.reply(self._http.request(call.method, call.path, **call.sent))


class AsyncClient:
    """`Client` for asyncio: the same methods, awaited. See there."""

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 65.0) -> None:
        with calls.reached():
            self._http = httpx.AsyncClient(
                base_url=url,
                headers=calls.request_headers(key) | UNPACKED,
                timeout=timeout,
                event_hooks={"response": [abound]},
            )

    async def ask(self, question: str, *, where: Where | None = None, **inputs: Any) -> AskReply:
        """Answer a question; `inputs` are what a program of one's own takes besides."""
        return await self._send(calls.ask_call(question, where, inputs))

    async def stream(
        self, question: str, *, where: Where | None = None, **inputs: Any
    ) -> AsyncIterator[ReplyEvent]:
        """Answer a question piece by piece; closing the iterator gives the answer up."""
        sent = self._http.stream("POST", STREAM, **calls.ask_call(question, where, inputs).sent)
        with calls.reached():
            async with sent as response:
                if not response.is_success:
                    await response.aread()
                calls.check_response(response)
                event: ReplyEvent | None = None
                async for said in EventSource(response).aiter_sse():
                    event = calls.parse_event(said)
                    yield event
                calls.check_stream_end(event)

    async def search(
        self, question: str, *, k: int | None = None, where: Where | None = None
    ) -> SearchReply:
        """Find passages."""
        return await self._send(calls.search_call(question, k, where))

    async def document(self, id: str) -> DocumentReply:
        """Return a document as the index holds it."""
        return await self._send(calls.document_call(id))

    async def feedback(
        self,
        answer: AskReply | str,
        rating: Literal["up", "down"],
        *,
        comment: str = "",
        correction: str = "",
    ) -> FeedbackReply:
        """Say what you think of an answer, and what it should have been."""
        return await self._send(
            calls.feedback_call(answer, rating, comment=comment, correction=correction)
        )

    async def health(self) -> Health:
        """Return what the server serves, and whether it can answer."""
        return await self._send(calls.health_call())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _send(self, call: ApiRequest[Reply]) -> Reply:
        with calls.reached():
            return call.reply(await self._http.request(call.method, call.path, **call.sent))
