"""A program and a question in, an answer out; on the way, what is found and written as it comes.

The one place of the server that knows how DSPy calls, times and streams a program.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from retrievers.types import Passage, RetrievalResult


@dataclass(frozen=True)
class Retrieved:
    """What a retrieval stage found."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True)
class Token:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True)
class Answer:
    """A finished answer.

    Attributes:
        citations: Numbers of passages, from 1.
        passages: What the language model read, in the order of its numbers.
        degraded: Stages that failed, each with what was used instead.
        spans: (stage, begin, end) in seconds of the epoch.
        tokens: "input" and "output" tokens of the language model.
    """

    text: str
    citations: tuple[int, ...]
    passages: tuple[Passage, ...]
    degraded: tuple[tuple[str, str], ...]
    spans: tuple[tuple[str, float, float], ...]
    tokens: Mapping[str, int] = field(default_factory=dict)

    @property
    def milliseconds(self) -> dict[str, float]:
        """Milliseconds by stage; what overlaps counts once."""
        stages = dict.fromkeys(stage for stage, _, _ in self.spans)
        return {stage: 1000 * _covered(self.spans, stage) for stage in stages}


Sink = Callable[[Retrieved | Token], None]


async def answer(
    program: dspy.Module, question: str, *, where: Mapping[str, Any] | None, sink: Sink | None
) -> Answer:
    """Answer a question.

    Args:
        program: A program as `artifacts.load` returns it.
        question: The question.
        where: A filter on the passages' metadata.
        sink: Called with everything that can be shown before the end; None does not stream.

    Raises:
        RagError: A part of the program failed.
        DSPyError: The language model failed.
    """
    watch = Watch(sink)
    asked: dict[str, Any] = {"question": question} | ({"where": where} if where else {})
    with dspy.context(callbacks=[watch], track_usage=True, disable_history=True):
        if sink is None:
            found = await program.acall(**asked)
        else:
            found = await _streamed(program, asked, sink)
    return Answer(
        text=str(found.answer),
        citations=tuple(found.citations),
        passages=tuple(found.passages),
        degraded=degradations(found),
        spans=tuple(watch.spans),
        tokens=_tokens(found),
    )


def degradations(found: dspy.Prediction) -> tuple[tuple[str, str], ...]:
    """Return the stages that failed, each with what was used instead.

    The reasons stay in the log: they may name what is inside.
    """
    return tuple((str(part.stage), str(part.used)) for part in found.get("degraded") or ())


async def _streamed(program: dspy.Module, asked: dict[str, Any], sink: Sink) -> dspy.Prediction:
    listener = dspy.streaming.StreamListener(
        signature_field_name="answer", predict=program.respond, predict_name="respond"
    )
    # Made anew for each question: a shared one loses the chunks of concurrent requests.
    stream = dspy.streamify(program, stream_listeners=[listener], is_async_program=True)
    shown, found = False, dspy.Prediction()
    async for item in stream(**asked):
        if isinstance(item, dspy.Prediction):
            found = item
        elif isinstance(item, dspy.streaming.StreamResponse) and item.chunk:
            shown = True
            sink(Token(item.chunk))
    if not shown:  # a language model's cached response has no chunks
        sink(Token(str(found.answer)))
    return found


class Watch(BaseCallback):
    """Notes when retrieval and the language model begin and end, and passes on what is found."""

    def __init__(self, sink: Sink | None) -> None:
        self.spans: list[tuple[str, float, float]] = []
        self._sink = sink
        self._begun: dict[str, float] = {}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begun[call_id] = time.time()

    def on_module_end(
        self, call_id: str, outputs: Any | None, exception: Exception | None = None
    ) -> None:
        begun = self._begun.pop(call_id, None)
        if isinstance(outputs, RetrievalResult) and begun is not None:
            self.spans.append(("retrieve", begun, time.time()))
            if self._sink:
                self._sink(Retrieved(tuple(outputs.passages)))

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begun[call_id] = time.time()

    def on_lm_end(
        self, call_id: str, outputs: Any | None, exception: Exception | None = None
    ) -> None:
        begun = self._begun.pop(call_id, None)
        if begun is not None:
            self.spans.append(("generate", begun, time.time()))


def _covered(spans: Sequence[tuple[str, float, float]], stage: str) -> float:
    total, reached = 0.0, 0.0
    for _, begin, end in sorted(span for span in spans if span[0] == stage):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _tokens(found: dspy.Prediction) -> dict[str, int]:
    usage = (found.get_lm_usage() or {}).values()
    return {
        "input": sum(int(one.get("prompt_tokens") or 0) for one in usage),
        "output": sum(int(one.get("completion_tokens") or 0) for one in usage),
    }
