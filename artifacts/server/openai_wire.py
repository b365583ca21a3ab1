"""What goes over the wire to chat front ends and back, in OpenAI's words and shapes.

Knows nothing of how a question is answered.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ragwright.artifacts.wire import AskReply, Plain, Usage

MOST_MESSAGES = 200


_TEXTS = ("text", "input_text", "output_text")


class Part(BaseModel):
    """A piece of a message; only text can be answered."""

    type: Plain = "text"
    text: Plain | None = None


class Message(BaseModel):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Plain | list[Part | Plain] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(filter(None, map(_text, self.content)))
        return self.content or ""


def _text(part: Part | str) -> str | None:
    if isinstance(part, str):
        return part
    return part.text if part.type in _TEXTS else None


class StreamOptions(BaseModel):
    """`include_usage` adds one event with the tokens spent."""

    include_usage: bool | None = False


class ChatRequest(BaseModel):
    """A conversation; unknown keys have no effect."""

    model_config = ConfigDict(extra="ignore")

    model: Plain | None = ""
    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None


class Tokens(BaseModel):
    """Tokens as OpenAI counts them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, usage: Usage) -> Tokens:
        total = usage.input_tokens + usage.output_tokens
        return cls(
            prompt_tokens=usage.input_tokens,
            completion_tokens=usage.output_tokens,
            total_tokens=total,
        )


class ReplyMessage(BaseModel):
    """What the program says."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """The one answer."""

    index: int = 0
    message: ReplyMessage
    finish_reason: Literal["stop"] = "stop"


class Chat(BaseModel):
    """A whole answer; `ragwright` holds citations, passages and timings."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Tokens
    ragwright: AskReply


class Delta(BaseModel):
    """What is new."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class DeltaChoice(BaseModel):
    """What is new in the one answer."""

    index: int = 0
    delta: Delta
    finish_reason: Literal["stop"] | None = None


class ChatChunk(BaseModel):
    """A piece of an answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[DeltaChoice]
    usage: Tokens | None = None
    ragwright: AskReply | None = None


class Model(BaseModel):
    """An artifact, as OpenAI lists a model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "ragwright"


class Models(BaseModel):
    """The one artifact that is served."""

    object: Literal["list"] = "list"
    data: list[Model]
