"""Turns every error into one JSON shape: `{"error": {...}}`, as OpenAI clients read it.

Knows which status each kind of error has; says nothing about the inside of the server.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import dspy
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ragwright.artifacts.server.context import current_request_id
from ragwright.artifacts.wire import ErrorDetail, ErrorReply
from ragwright.programs.causes import is_over_window
from ragwright.retrievers.errors import PAGE, InputError, RagError

log = logging.getLogger("ragwright.server")

RETRY_SECONDS = 2
"""What `Retry-After` says when a part of the server is out of order."""
_AS_JSON = "Send JSON, with the header `Content-Type: application/json`."
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}


class RefusedRequest(RagError):
    """A request that is turned away.

    Args:
        status: The HTTP status.
        code: A word for programs.
        what: What happened.
        hint: What to do about it.
        retry_after: Seconds after which it is worth trying again; 0 says nothing.
    """

    def __init__(
        self, status: int, code: str, what: str, *, hint: str = "", retry_after: int = 0
    ) -> None:
        super().__init__(what, hint=hint)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @property
    def page(self) -> str:
        return f"{PAGE}#{self.code}"


def refused_request(error: BaseException) -> RefusedRequest:
    """Return the status and the words for an error raised while answering."""
    match error:
        case RefusedRequest():
            return error
        case InputError():
            return RefusedRequest(422, "invalid_input", error.what, hint=error.hint)
        case RagError():
            what = f"The answer cannot be made now ({type(error).__name__})."
            return RefusedRequest(503, "out_of_order", what, retry_after=RETRY_SECONDS)
        case dspy.utils.exceptions.DSPyError():
            return _of_model(error)
        case TimeoutError():
            what = "The answer took too long."
            return RefusedRequest(503, "timeout", what, retry_after=RETRY_SECONDS)
        case _:
            return RefusedRequest(500, "internal", "The server failed; its log says how.")


def _of_model(error: dspy.utils.exceptions.DSPyError) -> RefusedRequest:
    if is_over_window(error):
        what = "The question and its passages do not fit the language model's window."
        return RefusedRequest(422, "context_too_long", what, hint="Ask a shorter question.")
    what = f"The language model failed ({type(error).__name__})."
    return RefusedRequest(503, "model_failed", what, retry_after=RETRY_SECONDS)


def refusal_response(
    error: RefusedRequest, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return the response for a refusal."""
    found = dict(headers or {})
    if error.retry_after:
        found["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        found["WWW-Authenticate"] = "Bearer"
    return JSONResponse(refusal_body(error).model_dump(), status_code=error.status, headers=found)


def refusal_body(error: RefusedRequest) -> ErrorReply:
    """Return the body for a refusal."""
    return ErrorReply(
        error=ErrorDetail(
            message=str(error),
            type=_kind(error.status),
            code=error.code,
            request_id=current_request_id(),
            doc=error.page,
        )
    )


def add_handlers(app: FastAPI) -> None:
    """Make every error of an app come out in the one shape."""
    app.add_exception_handler(RagError, _failed)
    app.add_exception_handler(dspy.utils.exceptions.DSPyError, _failed)
    app.add_exception_handler(TimeoutError, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def _failed(request: Request, error: Exception) -> JSONResponse:
    log_failure(error)
    return refusal_response(refused_request(error))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    # What was sent is not repeated: it may be huge, secret, or not even encodable.
    found: list[dict[str, Any]] = list(getattr(error, "errors", list)())
    parts = [f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in found[:3]]
    what = "; ".join(parts).encode("utf-8", "replace").decode()[:500]
    hint = (
        _AS_JSON
        if any(part["loc"] == ("body",) for part in found) and not _is_json(request)
        else ""
    )
    return refusal_response(
        RefusedRequest(422, "invalid_request", f"The request is malformed: {what}.", hint=hint)
    )


def _is_json(request: Request) -> bool:
    """Tell whether a request says that its body is JSON; `curl -d` alone says it is a form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


async def _http(request: Request, error: Exception) -> JSONResponse:
    status = int(getattr(error, "status_code", 500))
    what = str(getattr(error, "detail", "")) or "The request was refused"
    headers = getattr(error, "headers", None)
    return refusal_response(
        RefusedRequest(status, _CODES.get(status, "refused"), f"{what}."), headers=headers
    )


def log_failure(error: BaseException) -> None:
    """Log what a client is not told."""
    found = refused_request(error)
    if found.status == 500:
        log.error("failed", exc_info=error)
    elif found is not error and found.status != 422:
        log.warning("out of order: %s", " ".join(str(error).split())[:500])


def _kind(status: int) -> str:
    if status == 401:
        return "authentication_error"
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"
