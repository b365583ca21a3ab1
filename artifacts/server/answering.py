"""A program and a question in, an answer out; on the way, what is found and written as it comes.

The one place of the server that knows how DSPy calls and times a program.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from ragwright.artifacts.forgetful import forgetful
from ragwright.artifacts.server.errors import Refused
from ragwright.programs.streaming import Done, Failed, Restarted, Retrieved, Token, stream
from ragwright.retrievers.types import Passage, RetrievalResult


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


Early = Retrieved | Token | Restarted
"""What can be shown before the answer is whole."""
Sink = Callable[[Early], None]
Check = Callable[[Sequence[Passage]], Awaitable[None]]


async def answer(
    program: dspy.Module, question: str, *, sink: Sink | None, check: Check | None, **more: Any
) -> Answer:
    """Answer a question.

    Args:
        program: A program as `ragwright.artifacts.load` returns it.
        question: The question.
        sink: Called with everything that can be shown before the end; None does not stream.
        check: Awaited with passages before anything of them is shown; raises if they must not be.
            Nothing is shown before the first passages have passed. None if all may be shown.
        more: What the program takes besides, where there is any: `where`, `history`.

    Raises:
        RagError: A part of the program failed.
        DSPyError: The language model failed.
    """
    watch = Watch()
    asked = {"question": question, **{key: value for key, value in more.items() if value}}
    with forgetful(callbacks=[watch], track_usage=True):
        if sink is None:
            found = await program.acall(**asked)
        else:
            found = await _streamed(program, asked, sink, check)
        if check is not None:
            await check(tuple(found.passages))
    return Answer(
        text=encodable(str(found.answer or "")),
        citations=tuple(found.citations or ()),
        passages=tuple(found.passages),
        degraded=degradations(found),
        spans=tuple(watch.spans),
        tokens=_tokens(found),
    )


async def search(
    program: Any, question: str, *, k: int | None, where: Mapping[str, Any] | None
) -> RetrievalResult:
    """Find passages as the program does, without answering.

    Raises:
        RagError: A part of the program failed.
    """
    with forgetful():
        found: RetrievalResult = await program.retriever.acall(question, k, where=where)
    return found


def degradations(found: dspy.Prediction) -> tuple[tuple[str, str], ...]:
    """Return the stages that failed, each with what was used instead.

    The reasons stay in the log: they may name what is inside.
    """
    return tuple((str(part.stage), str(part.used)) for part in found.get("degraded") or ())


async def _streamed(
    program: dspy.Module, asked: dict[str, Any], sink: Sink, check: Check | None
) -> dspy.Prediction:
    passed = check is None
    async with aclosing(stream(program, **asked)) as events:  # type: ignore[type-var]
        async for event in events:
            match event:
                case Done():
                    return event.prediction
                case Failed():
                    raise event.error
                case Retrieved() if check is not None:
                    await check(tuple(event.passages))
                    passed = True
                    sink(event)
                case Token() if passed:
                    sink(Token(encodable(event.text)))
                case Retrieved() | Restarted():
                    sink(event)
    raise Refused(500, "internal", "The program broke off without an answer.")


def encodable(text: str) -> str:
    """Return a model's text as JSON, UTF-8 and SQLite take it: without half surrogate pairs."""
    return text.encode("utf-8", "replace").decode()


class Watch(BaseCallback):
    """Notes when retrieval and the language model begin and end."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, float, float]] = []
        self._begun: dict[str, float] = {}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begun[call_id] = time.time()

    def on_module_end(
        self, call_id: str, outputs: Any | None, exception: Exception | None = None
    ) -> None:
        begun = self._begun.pop(call_id, None)
        if isinstance(outputs, RetrievalResult) and begun is not None:
            self.spans.append(("retrieve", begun, time.time()))

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
