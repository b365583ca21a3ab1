"""What engines share that stand between a `dspy.LM` and the model that answers for it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cached_property
from typing import Any, Generic, Protocol, Self, TypeVar

import dspy
from dspy.lm15 import Request, Response, response_to_events

from ragwright.programs.dspy_internals import CLIENT_KEYS, StreamEvent


class LMEngine(Protocol):
    """What DSPy asks of the engine of a `dspy.LM`."""

    def complete(self, request: Request) -> Response:
        """Answer one request."""

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer one request in pieces."""

    def close(self) -> None:
        """Let go of what is held open."""


E = TypeVar("E", bound=LMEngine)


def without_client(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's settings for a `dspy.LM` around an engine: none of those of a connection."""
    return {name: value for name, value in options.items() if name not in CLIENT_KEYS}


class ThreadedEngine(Generic[E]):
    """The async engine of a `dspy.LM`: each request in a thread, so that the loop stays free.

    Args:
        engine: What answers.
    """

    def __init__(self, engine: E) -> None:
        self.engine = engine

    async def complete(self, request: Request) -> Response:
        """Answer one request."""
        return await asyncio.to_thread(self.engine.complete, request)

    async def stream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """The pieces of one answer, once all are there."""
        for event in await asyncio.to_thread(lambda: list(self.engine.stream(request))):
            yield event

    async def aclose(self) -> None:
        """Close the engine."""
        await asyncio.to_thread(self.engine.close)


class StandInEngine(ABC):
    """An engine whose model can do what another one can.

    What that can do is a search of DSPy's catalogue of models, and all four are asked at every
    call: what they find is kept.
    """

    lm: dspy.LM

    @abstractmethod
    def complete(self, request: Request) -> Response:
        """Answer one request."""

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """The whole answer at once."""
        yield from response_to_events(self.complete(request))

    def close(self) -> None:
        """Close the model."""
        self.lm.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def ask_model(self, request: Request) -> Response:
        """Ask the model; usage and history are for the outer one to tell, or all counts twice."""
        with dspy.context(usage_tracker=None, callbacks=[], send_stream=None, disable_history=True):
            response: Response = self.lm(request)
        return response

    @cached_property
    def supports_function_calling(self) -> bool:
        """Whether it calls functions."""
        return bool(self.lm.supports_function_calling)

    @cached_property
    def supports_reasoning(self) -> bool:
        """Whether it thinks aloud apart from its answer."""
        return bool(self.lm.supports_reasoning)

    @cached_property
    def supports_response_schema(self) -> bool:
        """Whether it keeps to a JSON schema."""
        return bool(self.lm.supports_response_schema)

    @cached_property
    def supported_params(self) -> set[str]:
        """The parameters that it takes."""
        return set(self.lm.supported_params)


class StandInLM(dspy.LM):
    """A language model that is asked through an engine of ours.

    Args:
        lm: The model; its settings and retries are kept, but for those of a connection.
        engine: What stands between.
        cache: Whether DSPy may answer from its own cache.

    Attributes:
        inner: The model.
    """

    def __init__(self, lm: dspy.LM, engine: StandInEngine, *, cache: bool) -> None:
        super().__init__(
            lm.model,
            model_type=lm.model_type,
            cache=cache,
            num_retries=lm.num_retries,
            engine=engine,
            async_engine=ThreadedEngine(engine),
            **without_client(lm.kwargs),
        )
        self.inner = lm
