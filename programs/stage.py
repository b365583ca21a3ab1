"""The base of every composed retrieval stage: candidates, then the one selection, then passages.

A stage is a `dspy.Module` that is called as `stage(query, k, where=...)` and returns a
`RetrievalResult`. What differs between stages is how they gather candidates. Knows no source.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import dspy
import numpy as np

from ragwright.programs.candidates import Candidates
from ragwright.programs.fallback import (
    STRICT,
    Degradation,
    FallbackGuard,
    collect_degradations,
    note_degradation,
)
from ragwright.programs.knobs import MOST_NEIGHBOURS, Knobs, KnobValues
from ragwright.programs.learned.base import rankers_in
from ragwright.programs.replaying import candidates_from_pool, pool_in_use
from ragwright.programs.selection import Ranking, select
from ragwright.programs.signals import Signal
from ragwright.programs.widening import surrounding_chunks
from ragwright.retrievers.argument_checks import check_type, short_repr
from ragwright.retrievers.base import check_query
from ragwright.retrievers.errors import InputError, StageError
from ragwright.retrievers.index import aopen_index, open_index
from ragwright.retrievers.narrowing import combine_with_block_filter, narrowing
from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.steady import asearch_steadily, search_steadily
from ragwright.retrievers.tracing import trace_retrieval
from ragwright.retrievers.types import Where

MOST_ASKED = 100
"""Passages that a search may ask for."""

_UNVARIED = "scores alone, without diversity"


class RetrievalStage(dspy.Module):
    """A composed retrieval stage over one index.

    Args:
        path: The folder of the index.
        knobs: Weights, depths, fusion and k; shared with the program that holds the stage.
    """

    follows = False
    """Whether what it found decides what it asks next, so that candidates depend on the knobs."""

    in_place_of = ""
    """The class of the retriever without knobs that its program asked instead, if any."""

    stands_for: tuple[str, str] | None = None
    """The module and name of the stage that it stands in for while its program asks, if any."""

    def __init__(self, path: str | Path, *, knobs: Knobs | None = None) -> None:
        super().__init__()
        check_type("knobs", knobs, Knobs, none=True)
        self.path = str(path)
        self.knobs = knobs or Knobs()
        self.guard: FallbackGuard = STRICT

    def __call__(self, query: str, k: int | None = None, *, where: Where | None = None) -> Any:
        """Search; with its parameters by name, so that `dspy.Tool` shows them."""
        if (other := _stand_in(self)) is not None:
            return other(query, k, where=where)
        if not _is_outermost():
            return super().__call__(query, k, where=where)
        with dspy.track_usage() as usage:
            found = super().__call__(query, k, where=where)
        found.set_lm_usage(usage.get_total_tokens())
        return found

    async def acall(self, query: str, k: int | None = None, *, where: Where | None = None) -> Any:
        """Search without blocking the event loop."""
        if (other := _stand_in(self)) is not None:
            return await other.acall(query, k, where=where)
        if not _is_outermost():
            return await super().acall(query, k, where=where)
        with dspy.track_usage() as usage:
            found = await super().acall(query, k, where=where)
        found.set_lm_usage(usage.get_total_tokens())
        return found

    def forward(
        self, query: str, k: int | None = None, *, where: Where | None = None
    ) -> RetrievalResult:
        query, where = check_query(query), combine_with_block_filter(where)
        knobs = self._values(k)
        found = search_steadily(self.path, knobs.k, lambda: self._search(query, knobs, where))
        trace_retrieval(query, found.passages)
        return found

    async def aforward(
        self, query: str, k: int | None = None, *, where: Where | None = None
    ) -> RetrievalResult:
        if pool_in_use() is not None or (
            self.threaded and not (await aopen_index(self.path)).awaited
        ):
            # Of the class: see `Reranker.aforward`. A step to another thread and back costs more
            # than most of what is done there.
            return await asyncio.to_thread(type(self).forward, self, query, k, where=where)
        query, where = check_query(query), combine_with_block_filter(where)
        knobs = self._values(k)
        found = await asearch_steadily(
            self.path, knobs.k, lambda: self._asearch(query, knobs, where)
        )
        trace_retrieval(query, found.passages)
        return found

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What it can weigh, sources first; its knobs, and what a pool stores, follow from them."""
        raise NotImplementedError

    @property
    def threaded(self) -> bool:
        """Whether it awaits nothing but threads if its store is embedded: then one does it all."""
        return False

    def gather(self, query: str, *, where: Where | None = None) -> Candidates:
        """Return all candidates, before any choice, with every signal that can be replayed."""
        raise NotImplementedError

    async def agather(self, query: str, *, where: Where | None = None) -> Candidates:
        """Like `gather`, without blocking the event loop."""
        return await asyncio.to_thread(self.gather, query, where=where)

    def replayable(self, query: str, *, where: Where | None = None) -> Candidates:
        """Return all that a replay under any knobs needs: signals, vectors, neighbours."""
        found = self.scored(query, self.gather(query, where=where))
        index, ids = open_index(self.path), found.ids[0]
        found = found.with_vectors(index.vectors(ids))
        with narrowing(where):
            return found.with_around(surrounding_chunks(index, ids, reach=MOST_NEIGHBOURS))

    def scored(self, query: str, candidates: Candidates) -> Candidates:
        """Add what learned rankers make of the candidates, once all other signals are there."""
        for part in rankers_in(self.knobs.learned):
            scores = part.ranks(query, candidates)
            if scores is not None:
                columns = np.arange(scores.shape[1], dtype=np.int64)[None, :]
                candidates = candidates.with_signal(part.signal, columns, scores)
        return candidates

    def ranked(
        self, query: str, knobs: KnobValues, where: Where | None
    ) -> tuple[Candidates, Ranking]:
        """Gather and select."""
        candidates = self.varied(self.gather(query, where=where), knobs)
        return candidates, select(candidates, knobs)

    async def aranked(
        self, query: str, knobs: KnobValues, where: Where | None
    ) -> tuple[Candidates, Ranking]:
        """Like `ranked`, without blocking the event loop."""
        candidates = await self.agather(query, where=where)
        candidates = await self.avaried(candidates, knobs)
        return candidates, select(candidates, knobs)

    def varied(self, candidates: Candidates, knobs: KnobValues) -> Candidates:
        """Add the candidates' vectors if the knobs ask for diversity."""
        if not knobs.diversity:
            return candidates
        index, ids = open_index(self.path), candidates.ids[0]
        try:
            vectors = self.guard.call("dense", self.path, lambda: index.vectors(ids))
        except StageError as error:
            note_degradation("dense", error, used=_UNVARIED)
            return candidates
        return candidates.with_vectors(vectors)

    async def avaried(self, candidates: Candidates, knobs: KnobValues) -> Candidates:
        """Like `varied`, without blocking the event loop."""
        if not knobs.diversity:
            return candidates
        index, ids = await aopen_index(self.path), candidates.ids[0]
        try:
            vectors = await self.guard.acall("dense", self.path, lambda: index.avectors(ids))
        except StageError as error:
            note_degradation("dense", error, used=_UNVARIED)
            return candidates
        return await asyncio.to_thread(candidates.with_vectors, vectors)

    def reranked(self, query: str, candidates: Candidates, knobs: KnobValues) -> Candidates:
        """Add what knobs ask for and a pool does not store; by default nothing."""
        return candidates

    def _search(self, query: str, knobs: KnobValues, where: Where | None) -> RetrievalResult:
        with collect_degradations() as notes:
            candidates, ranking = self._ranked(query, knobs, where)
            return self._result(candidates, ranking, notes)

    async def _asearch(self, query: str, knobs: KnobValues, where: Where | None) -> RetrievalResult:
        with collect_degradations() as notes:
            candidates, ranking = await self._aranked(query, knobs, where)
            return await asyncio.to_thread(self._result, candidates, ranking, notes)

    def _ranked(
        self, query: str, knobs: KnobValues, where: Where | None
    ) -> tuple[Candidates, Ranking]:
        """Gather and select, or select from what a pool holds."""
        pool = pool_in_use()
        if pool is None and not self._learned_ranking(knobs):
            return self.ranked(query, knobs, where)
        if pool is None:
            candidates = self.varied(self.scored(query, self.gather(query, where=where)), knobs)
            return candidates, select(candidates, knobs)
        candidates = self.reranked(query, candidates_from_pool(pool, self, query, where), knobs)
        return candidates, select(candidates, knobs)

    async def _aranked(
        self, query: str, knobs: KnobValues, where: Where | None
    ) -> tuple[Candidates, Ranking]:
        if not self._learned_ranking(knobs):
            return await self.aranked(query, knobs, where)
        found = await self.agather(query, where=where)
        candidates = await asyncio.to_thread(self.scored, query, found)
        candidates = await self.avaried(candidates, knobs)
        return candidates, select(candidates, knobs)

    def _learned_ranking(self, knobs: KnobValues) -> bool:
        """Whether a learned ranker counts: it reads every signal of every candidate."""
        return any(knobs.weight(part.signal.name) for part in rankers_in(self.knobs.learned))

    def _values(self, k: int | None) -> KnobValues:
        values = self.knobs.values
        if k is None or k == values.k:
            return values
        # Whoever searches may look further than a program's own knob goes.
        if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MOST_ASKED:
            raise InputError(
                f"k is {short_repr(k)}, but a search returns from 1 to {MOST_ASKED} passages.",
                hint="Give a whole number in that range, or none for the program's own.",
            )
        return values.model_copy(update={"k": k})

    def _result(
        self, candidates: Candidates, ranking: Ranking, notes: list[Degradation]
    ) -> RetrievalResult:
        extra: dict[str, Any] = {"degraded": list(notes)} if notes else {}
        return fetch_passages(self.path, candidates, ranking, **extra)


def _is_outermost() -> bool:
    """Whether the usage of language models is wanted and nobody above a stage counts it.

    `dspy.Module` would then look for a result that is true, and one without passages is not.
    """
    return bool(dspy.settings.track_usage) and dspy.settings.get("usage_tracker") is None


def _stand_in(stage: RetrievalStage) -> RetrievalStage | None:
    """The stage that the program which is asking has in the place of this one, if it has one."""
    callers = reversed(dspy.settings.caller_modules or ())
    held = (part for module in callers for part in vars(module).values())
    return next((part for part in held if isinstance(part, RetrievalStage)
                 and part.stands_for and _place(*part.stands_for) is stage), None)  # fmt: skip


def _place(module: str, name: str) -> object:
    return getattr(sys.modules.get(module), name, None)


def fetch_passages(
    path: str, candidates: Candidates, ranking: Ranking, **extra: Any
) -> RetrievalResult:
    """Fetch the texts of the first question's ranking, with the score by each signal."""
    columns = [int(column) for column in ranking.columns[0] if column >= 0]
    ids = candidates.ids[0]
    found = {
        passage.id: passage for passage in open_index(path).passages([ids[c] for c in columns])
    }
    passages = []
    for place, column in enumerate(columns):
        passage = found.get(ids[column])
        if passage is not None:
            passages.append(
                passage.scored(float(ranking.scores[0, place]), **candidates.seen(column))
            )
    return RetrievalResult.of(passages, **extra)
