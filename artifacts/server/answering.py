"""Answers a question with a program, whole or in pieces as they come.

The one place of the server that knows how DSPy calls and times a program.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import dspy

from ragwright.artifacts.forgetful import keep_no_history
from ragwright.artifacts.server.errors import RefusedRequest
from ragwright.artifacts.server.stage_times import StageTimes
from ragwright.artifacts.wire import MOST_NESTED
from ragwright.programs.anatomy import foreign_retrievers, searchers_of
from ragwright.programs.fallback import Degradation
from ragwright.programs.outputs import (
    answer_of,
    citations_of,
    find_prediction,
    other_outputs,
    passages_of,
)
from ragwright.programs.replies.reader import HOWS
from ragwright.programs.streaming import (
    Done,
    Failed,
    Restarted,
    Retrieved,
    Token,
    acall_program,
    stream_call,
)
from ragwright.programs.usage import reported_tokens
from ragwright.retrievers.narrowing import narrowing
from ragwright.retrievers.panics import translate_panics
from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.tracing import gather_passages
from ragwright.retrievers.types import Passage


@dataclass(frozen=True)
class FinishedAnswer:
    """A finished answer.

    Attributes:
        citations: Numbers of passages, from 1.
        passages: What the language model read, in the order of its numbers.
        degraded: Stages that failed, each with what was used instead.
        spans: (stage, begin, end) in seconds of the epoch.
        tokens: "input" and "output" tokens of the language model.
        outputs: What a program of one's own gave besides its answer.
        read: How the reply was read: "chat", "json", "salvaged", "plain"; empty if none says.
    """

    text: str
    citations: tuple[int, ...]
    passages: tuple[Passage, ...]
    degraded: tuple[tuple[str, str], ...]
    spans: tuple[tuple[str, float, float], ...]
    tokens: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    read: str = ""

    @property
    def milliseconds(self) -> dict[str, float]:
        """Milliseconds by stage; what overlaps counts once."""
        stages = dict.fromkeys(stage for stage, _, _ in self.spans)
        return {stage: 1000 * _covered(self.spans, stage) for stage in stages}


Early = Retrieved | Token | Restarted
"""What can be shown before the answer is whole."""
EarlySink = Callable[[Early], None]
Check = Callable[[Sequence[Passage]], Awaitable[None]]


async def answer_question(
    program: dspy.Module,
    called: Mapping[str, Any],
    *,
    sink: EarlySink | None,
    check: Check | None,
    where: Mapping[str, Any] | None = None,
) -> FinishedAnswer:
    """Answer a question.

    Args:
        program: A program as `ragwright.artifacts.load` returns it.
        called: What it is called with.
        sink: Called with everything that can be shown before the end; None does not stream.
        check: Awaited with passages before anything of them is shown; raises if they must not be.
            Nothing is shown before the first passages have passed. None if all may be shown.
        where: The filter that all it retrieves must pass, whether the program takes one or not.

    Raises:
        Refused: What the program retrieves cannot be filtered, and must be.
        RagError: A part of the program failed.
        DSPyError: The language model failed.
    """
    stage_times = StageTimes()
    if check is not None and (foreign_retrievers(program) or not searchers_of(program)):
        raise RefusedRequest(
            403, "forbidden", "What this program reads cannot be limited to a caller."
        )
    with (
        translate_panics(),
        keep_no_history(track_usage=True, **stage_times.settings(program)),
        narrowing(where),
        gather_passages() as gathered,
    ):
        if sink is None:
            returned = await acall_program(program, called)
        else:
            returned = await _streamed(program, called, sink, check)
        found = find_prediction(returned)
        passages = tuple(passages_of(found, gathered))
        if check is not None:
            await check(passages)
            await check(tuple(gathered))
    return FinishedAnswer(
        text=encodable_text(answer_of(returned)),
        citations=citations_of(found, len(passages)),
        passages=passages,
        outputs=_encodable(other_outputs(returned)),
        degraded=degradations_of(found),
        spans=tuple(stage_times.spans),
        tokens=_tokens(found),
        read=_read(found),
    )


def _read(found: dspy.Prediction) -> str:
    """How the reply was read, where our adapter did it; a program may have a `read` of its own."""
    how = found.get("read")
    return how if how in HOWS else ""


async def search_passages(
    program: Any, question: str, *, k: int | None, where: Mapping[str, Any] | None
) -> RetrievalResult:
    """Find passages as the program does, without answering; of several stages, what each finds.

    Raises:
        RagError: A part of the program failed.
    """
    with translate_panics(), keep_no_history():
        results = [
            await part.acall(question, k, where=where) for part in searchers_of(program).values()
        ]
    if len(results) == 1:
        only: RetrievalResult = results[0]
        return only
    passages = {passage.id: passage for result in results for passage in result.passages}
    return RetrievalResult.of(list(passages.values()))


def degradations_of(found: Any) -> tuple[tuple[str, str], ...]:
    """Return the stages that failed, each with what was used instead.

    The reasons stay in the log: they may name what is inside.
    """
    noted = found.get("degraded") if isinstance(found, dspy.Prediction) else None
    parts = noted if isinstance(noted, list | tuple) else ()
    return tuple((str(one.stage), str(one.used)) for one in parts if isinstance(one, Degradation))


async def _streamed(
    program: dspy.Module, called: Mapping[str, Any], sink: EarlySink, check: Check | None
) -> dspy.Prediction:
    passed = check is None
    async with aclosing(stream_call(program, called)) as events:  # type: ignore[type-var]
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
                    sink(Token(encodable_text(event.text)))
                case Retrieved() | Restarted():
                    sink(event)
    raise RefusedRequest(500, "internal", "The program broke off without an answer.")


def _encodable(value: Any, depth: int = MOST_NESTED) -> Any:
    """The same for every text in a value.

    Raises:
        Refused: It nests deeper than what can be written (500): a stream would break off there.
    """
    if depth < 0:
        raise RefusedRequest(500, "internal", "What the program gave nests too deep.")
    if isinstance(value, str):
        return encodable_text(value)
    if isinstance(value, dict):
        return {encodable_text(str(key)): _encodable(one, depth - 1) for key, one in value.items()}
    return [_encodable(one, depth - 1) for one in value] if isinstance(value, list) else value


def encodable_text(text: str) -> str:
    """Return a model's text as JSON, UTF-8 and SQLite take it: without half surrogate pairs."""
    return text.encode("utf-8", "replace").decode()


def _covered(spans: Sequence[tuple[str, float, float]], stage: str) -> float:
    total, reached = 0.0, 0.0
    for _, begin, end in sorted(span for span in spans if span[0] == stage):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _tokens(found: Any) -> dict[str, int]:
    usage = (found.get_lm_usage() or {}).values() if isinstance(found, dspy.Prediction) else ()
    return {
        "input": sum(reported_tokens(one.get("prompt_tokens")) for one in usage),
        "output": sum(reported_tokens(one.get("completion_tokens")) for one in usage),
    }
