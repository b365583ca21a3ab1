"""The server's own routes. Each one only translates between HTTP and the service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from ragwright.artifacts.server.auth import Caller
from ragwright.artifacts.server.errors import RefusedRequest
from ragwright.artifacts.server.metrics import Metrics
from ragwright.artifacts.server.requests import admit_question, json_response, service_of
from ragwright.artifacts.server.service import AdmittedQuestion
from ragwright.artifacts.server.streaming import EventStream, named_event, open_stream
from ragwright.artifacts.server.supervision import Supervisor
from ragwright.artifacts.wire import (
    LONGEST_ID,
    AskReply,
    AskRequest,
    DocumentReply,
    ErrorReply,
    FeedbackReply,
    FeedbackRequest,
    Health,
    Plain,
    SearchReply,
    SearchRequest,
)
from ragwright.retrievers.errors import RagError

PAGE = Path(__file__).resolve().parent.parent / "page"
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply} for status in (400, 401, 404, 413, 422, 429, 503)
}

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events.", "content": {EventStream.media_type: {}}}
}

CHANGED = "The documents, or DSPy, changed since the artifact was saved; the log says how."
"""What anybody may know of a version's notes, which name folders of this machine."""

router = APIRouter(prefix="/v1", tags=["ragwright"])
probes = APIRouter(tags=["operation"])
page = APIRouter(include_in_schema=False)


@router.post("/ask", response_model=AskReply)
async def ask(body: AskRequest, request: Request, caller: Caller) -> Response:
    """Answer a question, with citations; other keys are inputs of a program of one's own."""
    return json_response(await service_of(request).ask(_asked(body, request)))


@router.post("/ask/stream", response_model=None, responses=EVENTS)
async def ask_stream(body: AskRequest, request: Request, caller: Caller) -> EventStream:
    """Answer a question as events: `retrieval`, `token` (many), then `done` or `error`."""
    return await open_stream(service_of(request), _asked(body, request), named_event)


def _asked(body: AskRequest, request: Request) -> AdmittedQuestion:
    return admit_question(body.question, body.where, request, inputs=body.inputs)


@router.post("/search", response_model=SearchReply)
async def search(body: SearchRequest, request: Request, caller: Caller) -> Response:
    """Find passages, with their scores by every signal."""
    asked = admit_question(body.question, body.where, request)
    return json_response(await service_of(request).search(asked, body.k, body.offset))


@router.get("/document")
async def document(
    id: Annotated[Plain, Query(min_length=1, max_length=LONGEST_ID)],
    request: Request,
    caller: Caller,
) -> DocumentReply:
    """Return a document as the index holds it."""
    found = await service_of(request).document(id, caller)
    if found is None:
        raise RefusedRequest(404, "no_document", f"The index holds no document {id[:100]!r}.")
    return found


@router.post("/feedback", status_code=201)
async def feedback(body: FeedbackRequest, request: Request, caller: Caller) -> FeedbackReply:
    """Say what you think of an answer; saying it again replaces it."""
    service = service_of(request)
    if service.feedback is None:
        raise RefusedRequest(404, "no_feedback", "This server keeps no feedback.")
    given = await asyncio.to_thread(
        service.feedback.rate,
        body.answer_id,
        body.rating,
        comment=body.comment,
        correction=body.correction,
        caller=caller.name,
        scope=caller.scope,
    )
    if given is None:
        raise RefusedRequest(404, "no_answer", f"No answer has the id {body.answer_id!r}.")
    service.rated(given, body.rating, body.comment)
    return FeedbackReply(answer_id=body.answer_id, rating=body.rating)


@probes.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@probes.get("/readyz", responses={503: {"model": Health}})
async def readyz(request: Request, response: Response) -> Health:
    """Whether questions can be answered: 200, also while degraded; 503 while none can be."""
    background: Supervisor = request.app.state.background
    service = service_of(request)
    if request.app.state.doorkeeper.closed:
        response.headers["X-Ragwright-Keys"] = "required"  # so that the page asks for one first
    serving = service.serving
    trial = ["the candidate cannot be loaded"] if service.trial and service.trial.problem else []
    problems = [
        *serving.problems,
        *trial,
        *(f"{name} failed" for name in sorted(background.failing)),
    ]
    try:
        source = await service.source() if serving.ready else None
    except RagError:
        source, problems = None, [*problems, "the index cannot be read"]
    request.app.state.metrics.problems.set(len(problems))
    if source is None:
        response.status_code = 503
        return Health(status="failed" if problems else "loading", problems=problems)
    return Health(
        status="degraded" if problems else "ok",
        source=source,
        problems=problems,
        notes=[CHANGED] if serving.current.notes else [],
        feedback=service.feedback is not None,
    )


@probes.get("/metrics", response_class=Response)
async def metrics(request: Request, caller: Caller) -> Response:
    """What Prometheus reads."""
    found: Metrics = request.app.state.metrics
    return Response(found.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


@page.get("/")
async def index() -> FileResponse:
    """The page."""
    return FileResponse(PAGE / "index.html", headers=_PAGE_HEADERS)


@page.get("/page/{name}")
async def part(name: str) -> FileResponse:
    """A file of the page; the names are known, so that no path can lead elsewhere."""
    if name not in _PARTS:
        raise RefusedRequest(404, "not_found", "There is no such file.")
    return FileResponse(PAGE / name, headers=_PAGE_HEADERS)


_PARTS = frozenset({"page.css", "page.js", "stream.js", "icon.svg"})
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
