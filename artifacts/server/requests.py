"""What every route takes from a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from ragwright.artifacts.server.access import Access
from ragwright.artifacts.server.auth import ACCESS
from ragwright.artifacts.server.service import AdmittedQuestion, Service

TRACE_HEADER = "x-trace"


def service_of(request: Request) -> Service:
    """Return what answers; FastAPI would take a tenth of a millisecond to hand it to a route."""
    service: Service = request.app.state.service
    return service


def json_response(reply: BaseModel) -> Response:
    """Return a reply as JSON; handed to FastAPI as it is, all of it would be checked once more."""
    return Response(reply.model_dump_json(by_alias=True), media_type="application/json")


def admit_question(
    question: str,
    where: Mapping[str, Any] | None,
    request: Request,
    *,
    turns: tuple[tuple[str, str], ...] = (),
    inputs: Mapping[str, Any] | None = None,
) -> AdmittedQuestion:
    """Return a question with what the request says about it: also what its caller may see."""
    access: Access = request.scope[ACCESS]
    traced = request.headers.get(TRACE_HEADER) == "1"
    return AdmittedQuestion(question, access, where, turns, trace=traced, inputs=inputs or {})
