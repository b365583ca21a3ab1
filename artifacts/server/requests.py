"""What every route takes from a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request

from ragwright.artifacts.server.access import Access
from ragwright.artifacts.server.auth import ACCESS
from ragwright.artifacts.server.service import AdmittedQuestion, Service

TRACE_HEADER = "x-trace"


async def _service(request: Request) -> Service:  # a plain function would be called in a thread
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(_service)]


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
