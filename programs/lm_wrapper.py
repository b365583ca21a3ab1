"""Wraps any `dspy.BaseLM` in a `dspy.LM`, so that a compile can count and keep its calls.

A compile counts, caps and replays calls below DSPy's retries, in the engine of a `dspy.LM`. A model
of the user's own class, or DSPy's `DummyLM` of a test, has no such place: it becomes the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import dspy
from dspy.lm15 import Request, Response, response_to_events

from ragwright.programs.dspy_internals import StreamEvent
from ragwright.programs.engines import ThreadedEngine


def as_lm(lm: dspy.BaseLM) -> dspy.LM:
    """Return a language model as it is, or as the engine of one if it is no `dspy.LM`."""
    if isinstance(lm, dspy.LM):
        return lm
    engine = GivenEngine(lm)
    kept = {name: value for name, value in lm.kwargs.items() if value is not None}
    return dspy.LM(
        lm.model, engine=engine, async_engine=ThreadedEngine(engine), cache=False, **kept
    )


class GivenEngine:
    """Asks a model of any class; what it says of tokens and prices is believed."""

    def __init__(self, lm: dspy.BaseLM) -> None:
        self.lm = lm

    def complete(self, request: Request) -> Response:
        """Answer one request."""
        response: Response = self.lm(request)
        return response

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """The whole answer at once."""
        yield from response_to_events(self.complete(request))

    def close(self) -> None:
        """Nothing to close: the model belongs to the caller."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
