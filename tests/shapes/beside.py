"""Programs whose stage stands beside the class, as most tutorials have it."""

from __future__ import annotations

from collections.abc import Sequence

import dspy

from ragwright import HybridRetriever
from ragwright.programs import expose_knobs

search = HybridRetriever("index")


def find(question: str) -> Sequence[str]:
    """A helper that the class calls."""
    found: Sequence[str] = search(question).passages
    return found


def _search_in(path: str) -> None:
    """An application knows beforehand where its index lies."""
    global search  # noqa: PLW0603
    if search.path != path:
        search = HybridRetriever(path)


class Beside(dspy.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        _search_in(path)
        self.respond = dspy.ChainOfThought("context, question -> answer")
        expose_knobs(self)

    def forward(self, question: str) -> dspy.Prediction:
        return self.respond(context=find(question), question=question)
