"""The part of OpenAI's API that chat front ends need: list the model, chat, stream.

The last user message is the question; earlier turns go along to programs that hold
conversations. What a program cannot heed (temperature, tools, ...) is
accepted and has no effect, as other compatible servers do.
"""

from __future__ import annotations

import itertools
import re
import time
import uuid
from typing import Literal

from fastapi import APIRouter, Request, Response

from ragwright.artifacts.server.auth import Caller
from ragwright.artifacts.server.errors import RefusedRequest, refusal_body, refused_request
from ragwright.artifacts.server.openai_wire import (
    Chat,
    ChatChunk,
    ChatRequest,
    Choice,
    Delta,
    DeltaChoice,
    Model,
    Models,
    ReplyMessage,
    Tokens,
)
from ragwright.artifacts.server.requests import admit_question, json_response, service_of
from ragwright.artifacts.server.service import Service
from ragwright.artifacts.server.streaming import EventStream, Item, json_event, open_stream
from ragwright.artifacts.wire import AskReply
from ragwright.programs.streaming import Restarted, Token

router = APIRouter(prefix="/v1", tags=["OpenAI"])

_TASK = ("### Task:", "<chat_history>")
"""What Open WebUI's requests for titles, tags and follow-up questions begin with, and hold."""
_TITLE = re.compile(
    r"(?:^|[.:]\s|\n)\s*(?:please )?(?:write|provide|generate|create|analy[sz]e)\b[^.\n]{0,120}\b"
    r"(?:title\b[^.\n]{0,40} for (?:an?|the|this) (?:conversation|chat)"
    r"|this conversation and provide:)",
    re.IGNORECASE,
)
"""What LibreChat and others order a title with; a question about titles has other words first."""
_HEAD = 500
"""Signs at a message's beginning in which such an order stands."""


@router.get("/models")
async def models(request: Request, caller: Caller) -> Models:
    """List the artifact that is served."""
    return Models(data=[Model(id=service_of(request).serving.current.name)])


@router.get("/models/{name}")
async def model(name: str, request: Request, caller: Caller) -> Model:
    """Return the artifact that is served, as the list has it."""
    return Model(id=_served(name, service_of(request)))


@router.post(
    "/chat/completions",
    response_model=Chat,
    responses={200: {"content": {EventStream.media_type: {}}}},
)
async def chat(body: ChatRequest, request: Request, caller: Caller) -> Response:
    """Answer the last user message; with `stream`, piece by piece."""
    service = service_of(request)
    name = _model(body, service)
    asked = admit_question(_question(body), None, request, turns=_turns(body))
    if body.stream:
        wanted = body.stream_options is not None and bool(body.stream_options.include_usage)
        return await open_stream(service, asked, _Speller(name, usage=wanted))
    reply = await service.ask(asked)
    said = Chat(
        id=f"chatcmpl-{reply.id}",
        created=int(time.time()),
        model=name,
        choices=[Choice(message=ReplyMessage(content=with_sources(reply)))],
        usage=Tokens.of(reply.usage),
        ragwright=reply,
    )
    return json_response(said)


def with_sources(reply: AskReply) -> str:
    """Return the answer with the documents it cites, for clients that show nothing but text."""
    return reply.answer + source_lines(reply)


def source_lines(reply: AskReply) -> str:
    """Return the lines that name the cited documents; empty where nothing is cited."""
    cited = [reply.passages[number - 1] for number in reply.citations]
    named = [", ".join(filter(None, (one.title or one.document, one.place))) for one in cited]
    lines = [f"[{one.number}] {name}" for one, name in zip(cited, named, strict=True)]
    return "\n\nSources:\n" + "\n".join(lines) if lines else ""


class _Speller:
    """Spells one answer as OpenAI's chunks, which share an id."""

    def __init__(self, model: str, *, usage: bool) -> None:
        self._model = model
        self._usage = usage
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._begun = False

    def __call__(self, item: Item) -> bytes:
        match item:
            case Token():
                return self._said(item.text)
            case AskReply():
                return self._end(item)
            case Exception():
                return json_event(None, refusal_body(refused_request(item)))
            case Restarted():
                return self._said("\n\n")  # what was sent cannot be taken back
            case _:
                return self._said("")

    def _said(self, text: str) -> bytes:
        role: Literal["assistant"] | None = None if self._begun else "assistant"
        self._begun = True
        return self._chunk([DeltaChoice(delta=Delta(role=role, content=text))])

    def _end(self, reply: AskReply) -> bytes:
        named = source_lines(reply)
        told = self._said(named) if named else b""
        last = [DeltaChoice(delta=Delta(), finish_reason="stop")]
        used = self._chunk([], usage=Tokens.of(reply.usage)) if self._usage else b""
        return told + self._chunk(last, reply=reply) + used + b"data: [DONE]\n\n"

    def _chunk(
        self,
        choices: list[DeltaChoice],
        *,
        usage: Tokens | None = None,
        reply: AskReply | None = None,
    ) -> bytes:
        chunk = ChatChunk(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=choices,
            usage=usage,
            ragwright=reply,
        )
        return json_event(None, chunk)


def _model(body: ChatRequest, service: Service) -> str:
    return _served(body.model or service.serving.current.name, service)


def _served(wanted: str, service: Service) -> str:
    name = service.serving.current.name
    if wanted != name:
        raise RefusedRequest(
            404,
            "model_not_found",
            f"There is no model {wanted[:100]!r}.",
            hint=f"This server serves {name!r}.",
        )
    return name


def _question(body: ChatRequest) -> str:
    said = [message.text for message in body.messages if message.role == "user"]
    if not said or not said[-1].strip():
        raise RefusedRequest(422, "no_question", "The last user message holds no text.")
    if _is_about_chat(body):
        what = "This asks for work on a chat, such as a title, and is no question to the documents."
        hint = "Switch such requests off in the front end, or give them another model."
        raise RefusedRequest(422, "no_question", what, hint=hint)
    return said[-1]


def _is_about_chat(body: ChatRequest) -> bool:
    """Whether a front end wants work done on a chat, in the last message or as the system's."""
    begin, mark = _TASK
    last = body.messages[-1].text
    if last.lstrip().startswith(begin) and mark in last:
        return True
    orders = [body.messages[0].text, last] if len(body.messages) > 1 else [last]
    return any(_TITLE.search(text[:_HEAD]) for text in orders)


def _turns(body: ChatRequest) -> tuple[tuple[str, str], ...]:
    """Return the questions before the last one, each with the answer that follows it."""
    said = [message for message in body.messages if message.role in ("user", "assistant")]
    pairs = itertools.pairwise(said)
    return tuple((a.text, b.text) for a, b in pairs if (a.role, b.role) == ("user", "assistant"))
