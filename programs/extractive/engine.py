"""A DSPy engine around the extractive model: answers requests, whole or as streams.

Knows the engine contract of `dspy.clients.engines.base`, and nothing of how an answer is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Self

from dspy.clients.engines.base import validate_request
from dspy.lm15 import (
    Message,
    Request,
    Response,
    StreamDeltaEvent,
    StreamEndEvent,
    StreamStartEvent,
    TextDelta,
    Usage,
)

from ragwright.programs.dspy_internals import StreamEvent
from ragwright.programs.engines import ThreadedEngine
from ragwright.programs.extractive.answering import fill_fields
from ragwright.programs.extractive.prompt import parse_prompt, render_reply
from ragwright.programs.extractive.weights import reader_version

VERSION = "v2"
_WORD = re.compile(r"\s*\S+\s*")


class ExtractiveEngine:
    """The offline language model: it points at the answer in the given passages.

    It reads the passages with MiniLM and an adapter trained on SQuAD, and answers with the span
    that scores best against "the answer is not here". Demonstrations in the prompt teach it the
    form of an answer (how long, a name, a number, an identifier, a whole sentence). It is
    deterministic on one kind of processor: one that multiplies bfloat16 rounds otherwise, and may
    choose another of two spans that score alike. The model is loaded at the first request.

    It is not a generative model: it cannot write, reason, rewrite a query or follow instructions.
    Instructions, field descriptions, temperature and token limits mean nothing to it. What it says
    stands word for word in a passage, except "Yes", "No", "I don't know", and what other fields
    are filled with by their type.

    Args:
        embedder: Changes nothing any more: the reader brings its own model.
    """

    def __init__(self, embedder: str | None = None) -> None:
        del embedder

    @property
    def model(self) -> str:
        """The model string; it names everything that can change an answer."""
        return f"local/extractive-{VERSION}-{reader_version()}"

    def complete(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            dspy.lm15.InvalidRequestError: The prompt was not written by a DSPy chat or JSON
                adapter.
            retrievers.errors.ModelError: The reader's weights cannot be loaded.
        """
        validate_request(request)
        prompt = parse_prompt(request)
        text = render_reply(fill_fields(prompt), as_json=prompt.as_json)
        return Response(
            id=None,
            model=self.model,
            message=Message.assistant(text),
            finish_reason="stop",
            usage=Usage(input_tokens=_request_tokens(request), output_tokens=estimate_tokens(text)),
        )

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer one request word by word; the words join to the text of `complete`."""
        response = self.complete(request)
        yield StreamStartEvent(model=response.model)
        for word in _WORD.findall(response.message.text or ""):
            yield StreamDeltaEvent(delta=TextDelta(text=word, part_index=0))
        yield StreamEndEvent(finish_reason="stop", usage=response.usage)

    def close(self) -> None:
        """Nothing to close: the reader belongs to the process."""

    def dump_state(self) -> dict[str, str]:
        return {"version": VERSION, "reader": reader_version()}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild the engine.

        Raises:
            ValueError: The state was saved by another version of the engine.
        """
        ours = cls().dump_state()
        if state != ours:
            raise ValueError(
                f"This extractive engine is {' '.join(ours.values())}; the state was saved by "
                f"{state.get('version')!r}. Compile again, or install the version that saved it."
            )
        return cls()


class AsyncExtractiveEngine(ThreadedEngine[ExtractiveEngine]):
    """The same engine for `acall`, saved and loaded with its model as DSPy does it."""

    def dump_state(self) -> dict[str, str]:
        return self.engine.dump_state()

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        return cls(ExtractiveEngine.load_state(state))


def estimate_tokens(text: str) -> int:
    """Estimate a token count as 4/3 of the words, at least 1; close to GPT-4's on English prose."""
    return max(1, round(len(text.split()) * 4 / 3))


def _request_tokens(request: Request) -> int:
    system = request.system or ""
    parts = [system] if isinstance(system, str) else [str(getattr(p, "text", "")) for p in system]
    return estimate_tokens(
        " ".join([*parts, *(message.text or "" for message in request.messages)])
    )
