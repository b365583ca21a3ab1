"""Streams a program's answer as typed events while it is still being written.

    async for event in stream(program, "..."):

Order: `Retrieved` once the passages are known; `Token`s, which join to the answer (after a
`Restarted`, those before it are void); `Cited`; `Used`; `Done`. Or `Failed`, and nothing after.
Each call has its own listener and queue, so any number may run at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.utils.exceptions import DSPyError

from ragwright.programs.fallback import error_line
from ragwright.programs.interface import ProgramInputs
from ragwright.programs.outputs import (
    answer_of,
    citations_of,
    find_prediction,
    main_output,
    passages_of,
)
from ragwright.programs.replies.calling import reading
from ragwright.programs.replies.partial import certain_beginning
from ragwright.programs.replies.reader import LONGEST
from ragwright.programs.replies.wanted import OutputFields, output_fields
from ragwright.retrievers.errors import RagError
from ragwright.retrievers.types import Passage


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The passages that were found, best first."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """The tokens so far are void: another answer follows."""


@dataclass(frozen=True, slots=True)
class Cited:
    """The citations, with the passage behind each number."""

    citations: Mapping[int, Passage]


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens that each language model read and wrote, as it reports them."""

    usage: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """What the program returned, as `acall` does: of ours, and most others, a prediction."""

    prediction: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """What went wrong, in one line; the error itself for whoever wants to raise it."""

    message: str
    error: Exception


Event = Retrieved | Token | Restarted | Cited | Used | Done | Failed


@dataclass
class Sink:
    """Where one streamed call puts its events.

    Attributes:
        events: What the reader takes from; None ends it.
        said: The text of the tokens since the last restart.
    """

    events: asyncio.Queue[Event | None] = field(default_factory=asyncio.Queue)
    said: str = ""

    def say(self, text: str) -> None:
        if text:
            self.said += text
            self.events.put_nowait(Token(text))

    def restart(self) -> None:
        if self.said:
            self.said = ""
            self.events.put_nowait(Restarted())

    def follow(self, shown: str) -> None:
        """Say what is new of an answer that is being written."""
        if shown.startswith(self.said):
            self.say(shown[len(self.said) :])
        elif not self.said.startswith(shown):
            self.restart()
            self.say(shown)

    def settle(self, answer: str) -> None:
        """Say what is still missing of the final answer (all of it, if it came from a cache)."""
        if not answer.startswith(self.said):
            self.restart()
        self.say(answer[len(self.said) :])


_SINK: ContextVar[Sink | None] = ContextVar("sink", default=None)


def current_sink() -> Sink | None:
    """Return the sink of the call that is being streamed, if one is."""
    return _SINK.get()


def announce_passages(passages: list[Passage]) -> None:
    """Send the found passages to the stream that the program is answering to, if there is one."""
    sink = _SINK.get()
    if sink is not None:
        sink.events.put_nowait(Retrieved(tuple(passages)))


def stream(program: dspy.Module, question: str, **inputs: Any) -> AsyncIterator[Event]:
    """Call a program and yield events until it is done or has failed.

    Closing the iterator early cancels the call.

    Args:
        program: A `RAG`, loaded or built; other modules give their answer as one token.
        question: What is asked.
        inputs: Handed to the program: `where`, `history`.
    """
    return stream_call(program, {ProgramInputs.of(program).question: question, **inputs})


async def stream_call(program: dspy.Module, inputs: Mapping[str, Any]) -> AsyncIterator[Event]:
    """Like `stream`, with all that a program is called with."""
    sink = Sink()
    task = asyncio.create_task(_run(program, inputs, sink))
    try:
        while (event := await sink.events.get()) is not None:
            yield event
        await task  # an error that nobody foresaw is raised, not swallowed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def acall_program(program: dspy.Module, inputs: Mapping[str, Any]) -> Any:
    """Await a program; one that cannot be awaited is called in a thread."""
    if hasattr(type(program), "aforward"):
        return await program.acall(**inputs)
    return await asyncio.to_thread(program, **inputs)


async def stream_predictor(
    predict: dspy.Predict, inputs: Mapping[str, Any], sink: Sink, *, plain: bool = False
) -> dspy.Prediction:
    """Call a predictor whose answer goes to the sink as it is written."""
    name = main_output(predict.signature)
    listener = Listener(sink, output_fields(predict.signature), name)
    listener.begin(plain=plain)
    with reading(), dspy.context(send_stream=listener, stream_listeners=[]):
        reply: dspy.Prediction = await predict.acall(**inputs)
    sink.settle(str(reply.get(name) or ""))
    return reply


class Listener:
    """Takes the pieces of replies as they come, and tells a sink what is sure of the answer.

    Args:
        sink: Is told.
        wanted: The fields of a reply.
        name: The field that is the answer.
    """

    def __init__(self, sink: Sink, wanted: OutputFields, name: str = "answer") -> None:
        self.sink = sink
        self.name = name
        self.wanted = wanted
        self.begin()

    def begin(self, *, plain: bool = False) -> None:
        """A reply begins; what was said of another one before is void."""
        self.plain, self.text, self.read = plain, "", 0
        self.sink.restart()

    async def send(self, chunk: Any) -> None:
        """Take a piece of a reply, as DSPy's engines send them."""
        for choice in chunk.choices[:1] if len(self.text) < LONGEST else ():
            self.text += choice.delta.content or ""
        # Every look goes through the whole text: fewer of them as it grows.
        if self.read < LONGEST and len(self.text) - self.read > len(self.text) // 200:
            self.read = len(self.text)
            shown = certain_beginning(self.text, self.wanted, self.name, plain=self.plain)
            self.sink.follow(shown)


async def _run(program: dspy.Module, inputs: Mapping[str, Any], sink: Sink) -> None:
    _SINK.set(sink)
    try:
        with dspy.context(track_usage=True):
            prediction = await acall_program(program, inputs)
        for event in _ending(prediction, sink):
            sink.events.put_nowait(event)
    except (RagError, DSPyError, OSError, RuntimeError, ValueError) as error:
        sink.events.put_nowait(Failed(error_line(error), error))
    finally:
        sink.events.put_nowait(None)


def _ending(returned: Any, sink: Sink) -> list[Event]:
    sink.settle(answer_of(returned))
    prediction = find_prediction(returned)
    passages = passages_of(prediction)
    cited = {number: passages[number - 1] for number in citations_of(prediction, len(passages))}
    return [Cited(cited), Used(prediction.get_lm_usage() or {}), Done(returned)]
