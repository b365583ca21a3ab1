"""The base of every retriever: all of DSPy's quirks about `dspy.Retrieve` are absorbed here.

A retriever is a `dspy.Retrieve` and only that (inheriting from `dspy.Module` too breaks `get_lm`,
SIMBA, BestOfN and Refine). It holds the path of an index and a few numbers, never a live client,
so that it can be copied, pickled and saved; the index is opened once per process and found again
by its path.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.callback import with_callbacks

from ragwright.retrievers.argument_checks import folder_as_text
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import Index, aopen_index, open_index
from ragwright.retrievers.metadata import clean_text
from ragwright.retrievers.narrowing import combine_with_block_filter
from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.steady import asearch_steadily, search_steadily
from ragwright.retrievers.tracing import trace_retrieval
from ragwright.retrievers.types import Passage, Where

MOST_PASSAGES = 1000
DEEPEST = 100
"""How far down it looks for other passages in the place of copies."""


class Retriever(dspy.Retrieve):
    """A retriever over one index.

    Works as a sub-module of a program and as `dspy.configure(rm=...)`.

    Args:
        path: The folder of the index.
        k: How many passages to return.

    Raises:
        InputError: `k` is out of range.
    """

    signal = ""
    """What its scores are called among a passage's signals."""

    def __init__(self, path: str | Path, *, k: int = 5) -> None:
        super().__init__(k=_checked(k))
        self.path = folder_as_text(path)

    @property
    def index(self) -> Index:
        """The live index, opened at first use."""
        return open_index(self.path)

    @with_callbacks
    def __call__(
        self, query: str, k: int | None = None, *, where: Where | None = None
    ) -> RetrievalResult:
        found = self.forward(query, k, where=where)
        trace_retrieval(query, found.passages)
        return found

    @with_callbacks
    async def acall(
        self, query: str, k: int | None = None, *, where: Where | None = None
    ) -> RetrievalResult:
        found = await self.aforward(query, k, where=where)
        trace_retrieval(query, found.passages)
        return found

    def forward(
        self, query: str, k: int | None = None, *, where: Where | None = None
    ) -> RetrievalResult:
        """Return up to k passages, best first; `where` filters on their metadata.

        Of passages with the same text the best alone is returned, and the next ones fill up.
        """
        query, where = check_query(query), combine_with_block_filter(where)
        wanted = self.k if k is None else _checked(k)
        return search_steadily(self.path, wanted, lambda: self._search(query, wanted, where))

    async def aforward(
        self, query: str, k: int | None = None, *, where: Where | None = None
    ) -> RetrievalResult:
        query, where = check_query(query), combine_with_block_filter(where)
        # to_thread carries DSPy's context variables over.
        if not (await aopen_index(self.path)).awaited:
            return await asyncio.to_thread(self.forward, query, k, where=where)
        wanted = self.k if k is None else _checked(k)
        return await asearch_steadily(
            self.path, wanted, lambda: self._asearch(query, wanted, where)
        )

    def hits(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n chunk ids with their scores, best first."""
        raise NotImplementedError

    async def ahits(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Like `hits`, without blocking the event loop."""
        return await asyncio.to_thread(self.hits, query, n, where)

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Return what `dspy.Module.save` stores: k alone."""
        return {"k": self.k}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take k from a state file, and nothing else.

        Raises:
            InputError: Another key, or k is out of range.
        """
        if not isinstance(state, dict) or set(state) != {"k"}:
            raise InputError(f"A retriever's state holds `k` alone, not {state!r}.")
        self.k = _checked(state["k"])

    def _search(self, query: str, wanted: int, where: Where | None) -> RetrievalResult:
        asked = wanted
        while True:
            hits = self.hits(query, asked, where)
            passages = self._passages(hits)
            if len(passages) >= wanted or len(hits) < asked or asked >= DEEPEST:
                return RetrievalResult.of(passages[:wanted])
            asked = min(2 * asked, DEEPEST)

    async def _asearch(self, query: str, wanted: int, where: Where | None) -> RetrievalResult:
        asked = wanted
        while True:
            hits = await self.ahits(query, asked, where)
            passages = await asyncio.to_thread(self._passages, hits)
            if len(passages) >= wanted or len(hits) < asked or asked >= DEEPEST:
                return RetrievalResult.of(passages[:wanted])
            asked = min(2 * asked, DEEPEST)

    def _passages(self, hits: dict[str, float]) -> list[Passage]:
        """What was found, best first, without copies of a better one."""
        first: dict[str, Passage] = {}
        for passage in self.index.passages(list(hits)):
            first.setdefault(str(passage), passage)
        return [
            passage.scored(hits[passage.id], **{self.signal: hits[passage.id]})
            for passage in first.values()
        ]


def check_query(query: object) -> str:
    """Return a question that can be searched for.

    Raises:
        InputError: It is not text.
    """
    if not isinstance(query, str):
        raise InputError(
            f"The query is {type(query).__name__}, not text.", hint="Ask one question as a string."
        )
    return clean_text(query)


def _checked(k: object) -> int:
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MOST_PASSAGES:
        raise InputError(
            f"k is {k!r}, but must be a whole number from 1 to {MOST_PASSAGES}.",
            hint="Ask for fewer passages.",
        )
    return k
