"""Builds the requests to a server, and reads its replies as typed values or errors.

Sends nothing itself, so that it serves both clients of `client.py`, the one that waits and the one
that awaits. Loads neither DSPy nor any model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx
from httpx_sse import ServerSentEvent, SSEError
from pydantic import BaseModel, ValidationError

from ragwright.artifacts.wire import (
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
from ragwright.retrievers.errors import InputError, RagError
from ragwright.retrievers.types import Where

KEY = "RAGWRIGHT_API_KEY"
"""The environment variable with the client's key."""
STREAM = "/v1/ask/stream"

ReplyEvent = RetrievalEvent | TokenEvent | RestartEvent | AskReply
"""What a stream yields: what was found, the answer's pieces (void after a restart), the answer."""
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


@dataclass(frozen=True)
class ApiRequest(Generic[Reply]):
    """A request, and the form of its reply.

    Attributes:
        body: What is posted as JSON; without one the request is a GET.
        params: What stands in the address.
        also: A status that has the form of a success though it is none.
    """

    path: str
    form: type[Reply]
    body: Mapping[str, Any] | None = None
    params: Mapping[str, str] | None = None
    also: int = 0

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"

    @property
    def sent(self) -> dict[str, Any]:
        """What goes along with the path, as httpx takes it.

        Raises:
            InputError: Something in it cannot be written: half a surrogate pair, NaN, an object.
        """
        try:
            for value in (self.params or {}).values():
                value.encode()
            if self.body is None:
                return {"params": self.params}
            written = json.dumps(self.body, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(
                f"This cannot be sent to a server: {error}.",
                hint="Send text that is UTF-8, finite numbers, lists and tables of these.",
            ) from error
        return {"content": written, "headers": {"Content-Type": "application/json"}}

    def reply(self, response: httpx.Response) -> Reply:
        """Read what came back.

        Raises:
            ServerError: The server refused or failed, or is none of ragwright's.
        """
        if response.status_code != self.also:
            check_response(response)
        try:
            return self.form.model_validate_json(response.content)
        except ValidationError as error:
            raise _not_ours(response) from error


def ask_call(
    question: str, where: Where | None, inputs: Mapping[str, Any] | None = None
) -> ApiRequest[AskReply]:
    """Return the call that answers a question; its body, sent to `STREAM`, asks for pieces."""
    return ApiRequest("/v1/ask", AskReply, {**(inputs or {}), "question": question, "where": where})


def search_call(question: str, k: int | None, where: Where | None) -> ApiRequest[SearchReply]:
    """Return the call that finds passages."""
    return ApiRequest("/v1/search", SearchReply, {"question": question, "where": where, "k": k})


def document_call(id: str) -> ApiRequest[DocumentReply]:
    """Return the call that reads a document."""
    return ApiRequest("/v1/document", DocumentReply, params={"id": id})


def feedback_call(
    answer: AskReply | str, rating: str, *, comment: str, correction: str
) -> ApiRequest[FeedbackReply]:
    """Return the call that rates an answer."""
    id = answer if isinstance(answer, str) else answer.id
    said = {"answer_id": id, "rating": rating, "comment": comment, "correction": correction}
    return ApiRequest("/v1/feedback", FeedbackReply, said)


def health_call() -> ApiRequest[Health]:
    """Return the call that tells whether the server can answer."""
    return ApiRequest("/readyz", Health, also=503)


def request_headers(key: str | None) -> dict[str, str]:
    """Return what every request carries: a key, by default that of the environment.

    Raises:
        InputError: It holds what no header can.
    """
    chosen = os.environ.get(KEY, "") if key is None else key
    if not (chosen.isascii() and chosen.isprintable()):
        raise InputError(
            "The API key holds other characters than letters, digits and signs of ASCII.",
            hint=f"Give the key that the server was given, here or in {KEY}.",
        )
    return {"Authorization": f"Bearer {chosen}"} if chosen else {}


class reached:  # noqa: N801 - reads as a word of the code that uses it
    """Turns what httpx raises into a `ServerError`; works around generators too."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.HTTPError | httpx.InvalidURL | SSEError):
            said = str(error).rstrip(".") or type(error).__name__
            raise ServerError(
                f"The server cannot be reached, or broke off: {said}.",
                hint="Check the address, and that `rag serve` runs there.",
            ) from error


def check_response(response: httpx.Response) -> None:
    """Let a success pass.

    Raises:
        ServerError: It is none.
    """
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


def parse_event(sent: ServerSentEvent) -> ReplyEvent:
    """Read an event of a stream.

    Raises:
        ServerError: It says that the server failed, or is none of ragwright's.
    """
    try:
        return _event(sent)
    except ValidationError as error:
        raise ServerError(
            f"The stream holds an event {sent.event!r} that no ragwright server sends.",
            hint="Check the address.",
        ) from error


def check_stream_end(event: ReplyEvent | None) -> None:
    """Let a stream end whose last event is an answer.

    Raises:
        ServerError: It is none.
    """
    if not isinstance(event, AskReply):
        raise ServerError("The stream ended before the answer did.", hint="Ask again.")


def _event(sent: ServerSentEvent) -> ReplyEvent:
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


def _not_ours(response: httpx.Response) -> ServerError:
    return ServerError(
        f"{response.request.url} answered with status {response.status_code} and no words of "
        "a ragwright server.",
        hint="Check the address.",
        status=response.status_code,
    )
