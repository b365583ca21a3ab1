"""An engine that answers while its caller waits in, one that an event loop awaits out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Generic, Protocol, TypeVar

from dspy.lm15 import Request, Response

from ragwright.programs.dspy_internals import StreamEvent


class Engine(Protocol):
    """What DSPy asks of the engine of a `dspy.LM`."""

    def complete(self, request: Request) -> Response:
        """Answer one request."""

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer one request in pieces."""

    def close(self) -> None:
        """Let go of what is held open."""


E = TypeVar("E", bound=Engine)


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
