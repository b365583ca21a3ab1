"""Retrieve, note, ask the next query, stop when it is enough: several searches for one question.

The hop's predictor writes the notes and queries; optimizers can rewrite it. What the hops find is
joined as candidates of one question, so no passage comes twice and the one selection ranks them.
"""

from __future__ import annotations

import asyncio

import dspy
from dspy.utils.exceptions import AdapterParseError

from ragwright.programs.candidates import Candidates
from ragwright.programs.context import build_context
from ragwright.programs.fallback import note_degradation
from ragwright.programs.hybrid import merge_candidates
from ragwright.programs.knobs import Knobs
from ragwright.programs.replies.calling import acall_predictor, call_predictor
from ragwright.programs.selection import select
from ragwright.programs.signals import Signal
from ragwright.programs.signatures import NextHop
from ragwright.programs.stage import RetrievalStage, fetch_passages
from ragwright.retrievers.errors import StageError
from ragwright.retrievers.types import Where


class MultiHopRetriever(RetrievalStage):
    """Searches again with queries that are written from what was found before.

    A pool of its candidates is gathered with the knobs of that moment, which decide what the hops
    read; replaying it with other knobs ranks the same candidates anew.

    Args:
        retriever: What searches at each hop.
        hops: Most searches for one question, the first included.
        knobs: Shared with the retriever.
    """

    follows = True

    def __init__(
        self, retriever: RetrievalStage, *, hops: int = 2, knobs: Knobs | None = None
    ) -> None:
        super().__init__(retriever.path, knobs=knobs or retriever.knobs)
        self.retriever = retriever
        self.hops = hops
        self.next_hop = dspy.Predict(NextHop)

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self.retriever.signals

    def gather(self, query: str, *, where: Where | None = None) -> Candidates:
        trail = _Trail(query)
        pool = self.retriever.gather(query, where=where)
        for _ in range(self.hops - 1):
            shown = self._shown(self.varied(pool, self.knobs.values))
            if not trail.follow(self._hop(trail.inputs(shown))):
                break
            found = self.retriever.gather(trail.last, where=where)
            pool = merge_candidates(self.path, [pool, found])
        return pool

    async def agather(self, query: str, *, where: Where | None = None) -> Candidates:
        trail = _Trail(query)
        pool = await self.retriever.agather(query, where=where)
        for _ in range(self.hops - 1):
            varied = await self.avaried(pool, self.knobs.values)
            shown = await asyncio.to_thread(self._shown, varied)
            if not trail.follow(await self._ahop(trail.inputs(shown))):
                break
            found = await self.retriever.agather(trail.last, where=where)
            pool = await asyncio.to_thread(merge_candidates, self.path, [pool, found])
        return pool

    def _hop(self, inputs: dict[str, object]) -> dspy.Prediction | None:
        try:
            return self.guard.call(
                "rewrite", "hop", lambda: call_predictor(self.next_hop, **inputs)
            )
        except (StageError, AdapterParseError) as error:
            note_degradation("rewrite", error, used="the hops so far")
            return None

    async def _ahop(self, inputs: dict[str, object]) -> dspy.Prediction | None:
        try:
            return await self.guard.acall(
                "rewrite", "hop", lambda: acall_predictor(self.next_hop, **inputs)
            )
        except (StageError, AdapterParseError) as error:
            note_degradation("rewrite", error, used="the hops so far")
            return None

    def _shown(self, pool: Candidates) -> list[str]:
        values = self.knobs.values
        found = fetch_passages(self.path, pool, select(pool, values))
        return list(build_context(found.passages, values.context_tokens).numbered)


class _Trail:
    """What one question's hops have noted and asked."""

    def __init__(self, question: str) -> None:
        self.question = question
        self.notes: list[str] = []
        self.queries = [question]

    @property
    def last(self) -> str:
        return self.queries[-1]

    def inputs(self, context: list[str]) -> dict[str, object]:
        return {"context": context, "notes": list(self.notes), "question": self.question}

    def follow(self, reply: dspy.Prediction | None) -> bool:
        """Take a hop's notes; return whether there is something new to search for."""
        if reply is None:
            return False
        query = (reply.query or "").strip()
        if reply.enough or not query or query in self.queries:
            return False
        self.notes.append(reply.note or "")
        self.queries.append(query)
        return True
