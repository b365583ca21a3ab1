"""A typed client for a running `rag serve`: `Client`, and `AsyncClient` with the same methods.

    with Client("http://127.0.0.1:8600") as client:
        print(client.ask("...").answer)

Needs httpx and Pydantic; loads neither DSPy nor any model.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal, Self, TypeVar

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import BaseModel, ValidationError

from artifacts.wire import (
    AskReply,
    DocumentReply,
    ErrorReply,
    FeedbackReply,
    Health,
    RestartEvent,
    RetrievalEvent,
    SearchReply,
    TokenEvent,
)
from retrievers.errors import RagError

KEY = "RAGWRIGHT_API_KEY"
"""The environment variable with the client's key."""

Event = RetrievalEvent | TokenEvent | RestartEvent | AskReply
"""What a stream yields: what was found, the answer's pieces (void after a restart), the answer."""
Where = Mapping[str, Any]
Reply = TypeVar("Reply", bound=BaseModel)


class ServerError(RagError):
    """The server refused, failed, or cannot be reached.

    Attributes:
        status: The HTTP status; 0 if there was no answer.
        code: The server's word for it, such as "queue_full".
        request_id: Stands in the server's log too.
        retry_after: Seconds after which it is worth trying again; 0 if the server does not say.
    """

    def __init__(
        self,
        what: str,
        *,
        hint: str = "",
        status: int = 0,
        code: str = "",
        request_id: str = "",
        retry_after: float = 0,
    ) -> None:
        super().__init__(what, hint=hint)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after


class Client:
    """Asks a server; safe to share between threads.

    Args:
        url: The server's address.
        key: Its API key; by default what RAGWRIGHT_API_KEY holds.
        timeout: Seconds to wait for each piece of an answer.

    Raises (every method):
        ServerError: The server refused, failed, or cannot be reached.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 65.0) -> None:
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout)

    def ask(self, question: str, *, where: Where | None = None) -> AskReply:
        """Answer a question."""
        return self._post("/v1/ask", _question(question, where), AskReply)

    def stream(self, question: str, *, where: Where | None = None) -> Iterator[Event]:
        """Answer a question piece by piece; closing the iterator gives the answer up."""
        call = self._http.stream("POST", "/v1/ask/stream", json=_question(question, where))
        with _reached(), call as response:
            if not response.is_success:
                response.read()
            _check(response)
            ended = False
            for sent in EventSource(response).iter_sse():
                event = _event(sent)
                ended = isinstance(event, AskReply)
                yield event
            _check_ended(ended)

    def search(
        self, question: str, *, k: int | None = None, where: Where | None = None
    ) -> SearchReply:
        """Find passages."""
        return self._post("/v1/search", {**_question(question, where), "k": k}, SearchReply)

    def document(self, id: str) -> DocumentReply:
        """Return a document as the index holds it."""
        with _reached():
            return _read(self._http.get("/v1/document", params={"id": id}), DocumentReply)

    def feedback(
        self,
        answer: AskReply | str,
        rating: Literal["up", "down"],
        *,
        comment: str = "",
        correction: str = "",
    ) -> FeedbackReply:
        """Say what you think of an answer, and what it should have been."""
        body = _feedback(answer, rating, comment=comment, correction=correction)
        return self._post("/v1/feedback", body, FeedbackReply)

    def health(self) -> Health:
        """Return what the server serves, and whether it can answer."""
        with _reached():
            return _health(self._http.get("/readyz"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _post(self, path: str, body: Mapping[str, Any], form: type[Reply]) -> Reply:
        with _reached():
            return _read(self._http.post(path, json=body), form)


class AsyncClient:
    """`Client` for asyncio: the same methods, awaited. See there."""

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 65.0) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=_headers(key), timeout=timeout)

    async def ask(self, question: str, *, where: Where | None = None) -> AskReply:
        """Answer a question."""
        return await self._post("/v1/ask", _question(question, where), AskReply)

    async def stream(self, question: str, *, where: Where | None = None) -> AsyncIterator[Event]:
        """Answer a question piece by piece; closing the iterator gives the answer up."""
        call = self._http.stream("POST", "/v1/ask/stream", json=_question(question, where))
        with _reached():
            async with call as response:
                if not response.is_success:
                    await response.aread()
                _check(response)
                ended = False
                async for sent in EventSource(response).aiter_sse():
                    event = _event(sent)
                    ended = isinstance(event, AskReply)
                    yield event
                _check_ended(ended)

    async def search(
        self, question: str, *, k: int | None = None, where: Where | None = None
    ) -> SearchReply:
        """Find passages."""
        return await self._post("/v1/search", {**_question(question, where), "k": k}, SearchReply)

    async def document(self, id: str) -> DocumentReply:
        """Return a document as the index holds it."""
        with _reached():
            return _read(await self._http.get("/v1/document", params={"id": id}), DocumentReply)

    async def feedback(
        self,
        answer: AskReply | str,
        rating: Literal["up", "down"],
        *,
        comment: str = "",
        correction: str = "",
    ) -> FeedbackReply:
        """Say what you think of an answer, and what it should have been."""
        body = _feedback(answer, rating, comment=comment, correction=correction)
        return await self._post("/v1/feedback", body, FeedbackReply)

    async def health(self) -> Health:
        """Return what the server serves, and whether it can answer."""
        with _reached():
            return _health(await self._http.get("/readyz"))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _post(self, path: str, body: Mapping[str, Any], form: type[Reply]) -> Reply:
        with _reached():
            return _read(await self._http.post(path, json=body), form)


class _reached:  # noqa: N801 - reads as a word of the code that uses it
    """Turns what httpx raises into a `ServerError`; works around generators too."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.HTTPError | httpx.InvalidURL | SSEError):
            raise ServerError(
                f"The server cannot be reached, or broke off: {error or type(error).__name__}.",
                hint="Check the address, and that `rag serve` runs there.",
            ) from error


def _headers(key: str | None) -> dict[str, str]:
    chosen = os.environ.get(KEY, "") if key is None else key
    return {"Authorization": f"Bearer {chosen}"} if chosen else {}


def _question(question: str, where: Where | None) -> dict[str, Any]:
    return {"question": question, "where": where}


def _feedback(
    answer: AskReply | str, rating: str, *, comment: str, correction: str
) -> dict[str, str]:
    id = answer if isinstance(answer, str) else answer.id
    return {"answer_id": id, "rating": rating, "comment": comment, "correction": correction}


def _health(response: httpx.Response) -> Health:
    if response.status_code != 503:
        _check(response)
    return _parsed(response, Health)


def _read(response: httpx.Response, form: type[Reply]) -> Reply:
    _check(response)
    return _parsed(response, form)


def _parsed(response: httpx.Response, form: type[Reply]) -> Reply:
    try:
        return form.model_validate_json(response.content)
    except ValidationError as error:
        raise _not_ours(response) from error


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    try:
        detail = ErrorReply.model_validate_json(response.content).error
    except ValidationError as error:
        raise _not_ours(response) from error
    wait = response.headers.get("Retry-After", "")
    raise ServerError(
        detail.message,
        status=response.status_code,
        code=detail.code,
        request_id=detail.request_id,
        retry_after=float(wait) if wait.isdecimal() else 0,
    )


def _event(sent: ServerSentEvent) -> Event:
    try:
        return _parsed_event(sent)
    except ValidationError as error:
        raise ServerError(
            f"The stream holds an event {sent.event!r} that no ragwright server sends.",
            hint="Check the address.",
        ) from error


def _parsed_event(sent: ServerSentEvent) -> Event:
    match sent.event:
        case "retrieval":
            return RetrievalEvent.model_validate_json(sent.data)
        case "token":
            return TokenEvent.model_validate_json(sent.data)
        case "restart":
            return RestartEvent()
        case "done":
            return AskReply.model_validate_json(sent.data)
        case _:
            detail = ErrorReply.model_validate_json(sent.data).error
            raise ServerError(
                detail.message, status=200, code=detail.code, request_id=detail.request_id
            )


def _check_ended(ended: bool) -> None:
    if not ended:
        raise ServerError("The stream ended before the answer did.", hint="Ask again.")


def _not_ours(response: httpx.Response) -> ServerError:
    return ServerError(
        f"{response.request.url} answered with status {response.status_code} and no words of "
        "a ragwright server.",
        hint="Check the address.",
        status=response.status_code,
    )
