"""What was found, as it goes over the wire. Knows neither requests nor limits."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from ragwright.artifacts.server.answering import FinishedAnswer
from ragwright.artifacts.server.swap import ServedVersion
from ragwright.artifacts.wire import AskReply, Degraded, PassageReply, Source, Usage
from ragwright.retrievers.types import Passage, describe_place


def passage_reply(passage: Passage, number: int | None = None) -> PassageReply:
    """Return a passage as it goes over the wire."""
    facts = passage.metadata
    return PassageReply(
        number=number,
        id=passage.id,
        document=passage.document,
        title=str(facts.get("title", "")),
        text=str(passage),
        start=int(facts.get("start", 0)),
        end=int(facts.get("end", 0)),
        place=describe_place(facts),
        score=passage.score,
        signals=dict(passage.signals),
    )


def answer_reply(
    question: str, found: FinishedAnswer, source: Source, timings: dict[str, float]
) -> AskReply:
    """Return an answer, under an id of its own."""
    tokens = found.tokens
    return AskReply(
        id=new_answer_id(),
        question=question,
        answer=found.text,
        citations=list(found.citations),
        passages=[passage_reply(p, number) for number, p in enumerate(found.passages, start=1)],
        degraded=degraded_reply(found.degraded),
        timings_ms={stage: round(value, 3) for stage, value in timings.items()},
        outputs=dict(found.outputs),
        usage=Usage(input_tokens=tokens["input"], output_tokens=tokens["output"]),
        source=source,
    )


def degraded_reply(parts: Sequence[tuple[str, str]]) -> list[Degraded]:
    """Return the stages that failed, each with what was used instead."""
    return [Degraded(stage=stage, used=used) for stage, used in parts]


def source_reply(served: ServedVersion, generation: int) -> Source:
    """Return what answered."""
    return Source(artifact=served.name, version=served.version, generation=generation)


def new_answer_id() -> str:
    """Return an id that feedback can name."""
    return uuid.uuid4().hex
