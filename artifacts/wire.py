"""What goes over the wire, both ways: requests with their limits, replies with their fields.

Shared by the server and the client; needs Pydantic and nothing else.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

MOST_PASSAGES = 100
MOST_FILTER = 16
"""Conditions in one filter, nested ones included, and how deep they may nest."""
MOST_NESTED = 64
"""How deep an input or an output may nest: what is read is written again, a few levels deeper."""
LONGEST_COMMENT = 4000
LONGEST_ID = 1024


def _plain(text: str) -> str:
    """Refuse what is no text: unpaired surrogates cannot be encoded, NUL ends strings in C."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("not encodable as UTF-8") from error
    if "\0" in text:
        raise ValueError("holds a null character")
    return text


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _small(where: dict[str, Any] | None) -> dict[str, Any] | None:
    if where is not None and _conditions(where, MOST_FILTER) > MOST_FILTER:
        raise ValueError(f"has more than {MOST_FILTER} conditions")
    return where


def _conditions(value: Any, depth: int) -> int:
    """Count a filter's leaves and check each: text as text, numbers finite, nothing else."""
    if depth == 0:
        raise ValueError(f"is nested more than {MOST_FILTER} deep")
    if isinstance(value, dict):
        return sum(_conditions(part, depth - 1) for part in (*map(_plain, value), *value.values()))
    if isinstance(value, list):
        return sum(_conditions(part, depth - 1) for part in value)
    if isinstance(value, str):
        _plain(value)
    elif value is None or abs(value) > 2**53 or value != value:  # noqa: PLR0124 - NaN
        raise ValueError("compares with text, finite numbers, true and false only")
    return 1


def _checked_text(value: Any, depth: int) -> None:
    """Check every text in a value, and how deep it nests."""
    if depth == 0:
        raise ValueError(f"is nested more than {MOST_NESTED} deep")
    if isinstance(value, str):
        _plain(value)
    elif isinstance(value, dict):
        for part in (*value, *value.values()):
            _checked_text(part, depth - 1)
    elif isinstance(value, list):
        for part in value:
            _checked_text(part, depth - 1)


Plain = Annotated[str, AfterValidator(_plain)]
QuestionText = Annotated[str, AfterValidator(_plain), AfterValidator(_said)]
WhereField = Annotated[dict[str, Any] | None, AfterValidator(_small)]


class Body(BaseModel):
    """A request: an unknown key is an error, and so is a number or a truth value as text."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AskRequest(Body):
    """A question; `where` filters passages by their metadata.

    Other keys are inputs of a program of one's own, checked against what it takes.
    """

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, JsonValue]

    question: QuestionText
    where: WhereField = None

    @model_validator(mode="after")
    def _plain_inputs(self) -> Self:
        for name, value in self.inputs.items():
            _plain(name)
            _checked_text(value, MOST_NESTED)
        return self

    @property
    def inputs(self) -> dict[str, JsonValue]:
        """What the program is called with besides the question."""
        return self.__pydantic_extra__ or {}


class SearchRequest(Body):
    """A search; `k` None leaves the number of passages to the program, or is 10 on later pages.

    `offset` passes over the best so many: a page of k passages after those.
    """

    question: QuestionText
    k: Annotated[int | None, Field(ge=1, le=MOST_PASSAGES)] = None
    offset: Annotated[int, Field(ge=0, lt=MOST_PASSAGES)] = 0
    where: WhereField = None


class FeedbackRequest(Body):
    """What somebody thinks of an answer; giving it again replaces it.

    Attributes:
        answer_id: The `id` of the answer.
        rating: "up" or "down".
        comment: Why.
        correction: What the answer should have been; goes into the training set.
    """

    answer_id: Annotated[Plain, Field(min_length=1, max_length=64)]
    rating: Literal["up", "down"]
    comment: Annotated[Plain, Field(max_length=LONGEST_COMMENT)] = ""
    correction: Annotated[Plain, Field(max_length=LONGEST_COMMENT)] = ""


class PassageReply(BaseModel):
    """A passage, with the score by each source that saw it.

    Attributes:
        number: What citations call it; None where it did not reach the language model.
        start: Its first character in the document, counted from 0.
        end: One past the last one.
        place: Where that is, as people say it: "page 3", "sheet Prices"; "" where unknown.
    """

    number: int | None = None
    id: str
    document: str
    title: str
    text: str
    start: int
    end: int
    place: str = ""
    score: float
    signals: dict[str, float]


class Source(BaseModel):
    """Which version of which artifact answered, over which state of the index."""

    artifact: str
    version: str
    generation: int


class Usage(BaseModel):
    """Tokens of the language model."""

    input_tokens: int = 0
    output_tokens: int = 0


class Degraded(BaseModel):
    """A stage that failed, and what was used instead."""

    stage: str
    used: str


class AskReply(BaseModel):
    """An answer.

    Attributes:
        id: Names the answer in feedback.
        citations: The numbers of the passages it stands in.
        passages: What the language model read, in the order of its numbers.
        degraded: Parts that failed and were done without; empty when all is well.
        timings_ms: Milliseconds by stage: "queue", "retrieve", "generate", "total".
        cached: Whether it was answered before.
        outputs: What a program of one's own gave besides its answer, by name.
    """

    id: str
    question: str
    answer: str
    citations: list[int]
    passages: list[PassageReply]
    degraded: list[Degraded] = []
    timings_ms: dict[str, float] = {}
    usage: Usage = Usage()
    cached: bool = False
    outputs: dict[str, JsonValue] = Field(default_factory=dict)
    source: Source


def reply_bytes(reply: AskReply) -> int:
    """About how much memory an answer takes: its texts, and the objects that hold them."""
    texts = (reply.question, reply.answer, *(one.text for one in reply.passages))
    objects = 3000 + 1500 * len(reply.passages)
    return objects + sum(map(getsizeof, texts)) + 2 * len(str(reply.outputs))


class SearchReply(BaseModel):
    """Passages, best first; fewer than were asked for, or none, where they end."""

    passages: list[PassageReply]
    degraded: list[Degraded] = []
    source: Source


class Piece(BaseModel):
    """A chunk of a document."""

    id: str
    start: int
    end: int
    text: str


class DocumentReply(BaseModel):
    """A document as the index holds it: its chunks in order; what is between them is not kept."""

    document: str
    title: str
    pieces: list[Piece]


class FeedbackReply(BaseModel):
    """What was noted."""

    answer_id: str
    rating: str


class AboutReply(BaseModel):
    """What a server serves.

    Attributes:
        artifact: Its name.
        version: Its number.
        created: When it was compiled and saved: UTC, ISO 8601.
        release: Of ragwright.
        examples: Questions that it has answered; none for callers who see a part of the documents.
    """

    artifact: str
    version: str
    created: str
    release: str
    examples: list[str] = []


class Health(BaseModel):
    """Whether the server can answer, what it serves, and what there is to say about it.

    Attributes:
        status: "degraded" while it answers and something is the matter all the same.
        problems: What is the matter.
        notes: That something has changed since the artifact was saved.
    """

    status: Literal["ok", "degraded", "loading", "failed"]
    source: Source | None = None
    problems: list[str] = []
    notes: list[str] = []
    feedback: bool = False


class ErrorDetail(BaseModel):
    """What went wrong.

    Attributes:
        message: For people: what happened and what to do.
        type: "invalid_request_error", "authentication_error", "rate_limit_error" or
            "server_error".
        code: For programs, such as "queue_full".
        request_id: Stands in the server's log too.
        doc: Where the documentation says more of the code.
    """

    message: str
    type: str
    code: str
    request_id: str
    doc: str


class ErrorReply(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class RetrievalEvent(BaseModel):
    """`event: retrieval`: what was found, before anything is written."""

    passages: list[PassageReply]


class TokenEvent(BaseModel):
    """`event: token`: the next piece of the answer."""

    text: str


class RestartEvent(BaseModel):
    """`event: restart`: the tokens so far are void; another answer follows."""
