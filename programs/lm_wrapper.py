"""Wraps any `dspy.BaseLM` in a `dspy.LM`, so that a compile can count and keep its calls.

A compile counts, caps and replays calls below DSPy's retries, in the engine of a `dspy.LM`. A model
of the user's own class, or DSPy's `DummyLM` of a test, has no such place: it becomes the engine. So
does a `dspy.LM` whose class answers calls itself, past any engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import dspy
from dspy.lm15 import Request, Response, response_to_events

from ragwright.programs.dspy_internals import StreamEvent
from ragwright.programs.engines import ThreadedEngine
from ragwright.programs.usage import SharedUsage


def as_lm(lm: dspy.BaseLM) -> dspy.LM:
    """Return a language model as it is, or as the engine of one if it is no `dspy.LM`."""
    calls = _answers_calls(type(lm))
    if isinstance(lm, dspy.LM) and not calls:
        return lm
    engine = GivenEngine(CalledLM(lm) if calls else lm)
    kept = {name: value for name, value in lm.kwargs.items() if value is not None}
    return dspy.LM(
        lm.model, engine=engine, async_engine=ThreadedEngine(engine), cache=False, **kept
    )


def _answers_calls(kind: type[Any]) -> bool:
    """Whether a class of the user's own has a `__call__`, which knows nothing of requests."""
    owner = next(base for base in kind.__mro__ if "__call__" in vars(base))
    return owner.__module__.partition(".")[0] not in {"dspy", "ragwright"}


class CalledLM(dspy.BaseLM):
    """Asks a model by its own `__call__`, with messages, as DSPy did in earlier releases.

    Args:
        inner: The model; it returns a list of texts, or of tables with `text`.
    """

    def __init__(self, inner: dspy.BaseLM) -> None:
        super().__init__(inner.model, cache=False)
        self.inner = inner

    def forward(self, prompt: Any = None, messages: Any = None, **options: Any) -> dict[str, Any]:
        """Answer as a server would."""
        used = SharedUsage()
        with dspy.context(usage_tracker=used):
            said = self.inner(prompt, messages=messages, **options)
        texts = [said] if isinstance(said, str | dict) else list(said)
        choices = [
            {"index": place, "finish_reason": "stop", "message": _message(one)}
            for place, one in enumerate(texts)
        ]
        tokens = dict(zip(("prompt_tokens", "completion_tokens"), used.tokens, strict=True))
        return {"id": "", "object": "chat.completion", "model": self.model, "choices": choices,
                "usage": {**tokens, "total_tokens": sum(used.tokens)}}  # fmt: skip


def _message(said: str | dict[str, Any]) -> dict[str, Any]:
    known = said if isinstance(said, dict) else {"text": said}
    kept = {name: known[name] for name in ("tool_calls", "reasoning_content") if known.get(name)}
    return {"role": "assistant", "content": known.get("text"), **kept}


class GivenEngine:
    """Asks a model of any class; what it says of tokens and prices is believed."""

    def __init__(self, lm: dspy.BaseLM) -> None:
        self.lm = lm

    def complete(self, request: Request) -> Response:
        """Answer one request; the outer model tells usage and history, or all would count twice."""
        with dspy.context(usage_tracker=None, callbacks=[], send_stream=None, disable_history=True):
            response: Response = self.lm(request)
        return response

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """The whole answer at once."""
        yield from response_to_events(self.complete(request))

    def close(self) -> None:
        """Nothing to close: the model belongs to the caller."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
