"""Query expansion: HyDE, multi-query, step-back and decomposition.

Each is one predictor that optimizers can rewrite. `ExpandedRetriever` searches with all of the
queries and joins what they find, so that everything after it works as for one query.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar, Literal

import dspy
from dspy.utils.exceptions import AdapterParseError

from ragwright.programs.candidates import Candidates
from ragwright.programs.fallback import STRICT, FallbackGuard, note_degradation
from ragwright.programs.hybrid import HybridRetriever, merge_candidates
from ragwright.programs.knobs import Knobs
from ragwright.programs.replies.calling import acall_predictor, call_predictor
from ragwright.programs.signals import Signal
from ragwright.programs.signatures import HypotheticalPassage, QueryVariants, StepBack, SubQuestions
from ragwright.programs.stage import RetrievalStage
from ragwright.retrievers.errors import InputError, StageError
from ragwright.retrievers.types import Where

ExpansionKind = Literal["hyde", "multi-query", "step-back", "decompose"]
MOST_QUERIES = 5

_SIGNATURES: dict[ExpansionKind, type[dspy.Signature]] = {
    "hyde": HypotheticalPassage,
    "multi-query": QueryVariants,
    "step-back": StepBack,
    "decompose": SubQuestions,
}


@dataclass(frozen=True, slots=True)
class Query:
    """One search.

    Attributes:
        text: What both sources are asked.
        dense: What the dense source is asked instead, if anything.
    """

    text: str
    dense: str = ""


class Expansion(dspy.Module):
    """Writes queries for a question; the question itself is always the first of them.

    Args:
        kind: "hyde": a passage that might answer it, whose vector is searched for as well (Gao
            et al., ACL 2023). "multi-query": the same in other words. "step-back": a more general
            question (Zheng et al., ICLR 2024). "decompose": its parts.

    Attributes:
        needs_writer: Whether it asks a language model to write. One of your own that does not says
            so, and overrides `forward(question)`, which returns the queries, and `aforward`.
    """

    needs_writer: ClassVar[bool] = True

    def __init__(self, kind: ExpansionKind) -> None:
        super().__init__()
        if not isinstance(kind, str) or kind not in _SIGNATURES:
            raise InputError(
                f"There is no expansion {kind!r}.", hint=f"There are {', '.join(_SIGNATURES)}."
            )
        self.kind = kind
        self.guard: FallbackGuard = STRICT
        self.expand = dspy.Predict(_SIGNATURES[kind])

    def forward(self, question: str) -> list[Query]:
        try:
            reply = self.guard.call(
                "rewrite", self.kind, lambda: call_predictor(self.expand, question=question)
            )
        except (StageError, AdapterParseError) as error:
            return self._alone(question, error)
        return self._queries(question, reply)

    async def aforward(self, question: str) -> list[Query]:
        try:
            reply = await self.guard.acall(
                "rewrite", self.kind, lambda: acall_predictor(self.expand, question=question)
            )
        except (StageError, AdapterParseError) as error:
            return self._alone(question, error)
        return self._queries(question, reply)

    def _alone(self, question: str, error: StageError | AdapterParseError) -> list[Query]:
        note_degradation("rewrite", error, used="the question as it was asked")
        return [Query(question)]

    def _queries(self, question: str, reply: dspy.Prediction) -> list[Query]:
        if self.kind == "hyde":
            written = [reply.passage] if reply.passage else []
            return [Query(question), *(Query(question, dense=text) for text in written)]
        written = [text.strip() for text in reply.queries or ()]
        texts = dict.fromkeys([question, *(text for text in written if text)])
        return [Query(text) for text in list(texts)[:MOST_QUERIES]]


class ExpandedRetriever(RetrievalStage):
    """Searches with every query of an expansion and joins the candidates.

    Args:
        retriever: What searches.
        expansion: What writes the queries.
        knobs: Shared with the retriever.
    """

    def __init__(
        self, retriever: HybridRetriever, expansion: Expansion, *, knobs: Knobs | None = None
    ) -> None:
        super().__init__(retriever.path, knobs=knobs)
        self.retriever = retriever
        self.expansion = expansion

    @property
    def signals(self) -> tuple[Signal, ...]:
        return self.retriever.signals

    def gather(self, query: str, *, where: Where | None = None) -> Candidates:
        found = [
            self.retriever.gather(q.text, where=where, dense_query=q.dense)
            for q in self.expansion(query)
        ]
        return merge_candidates(self.path, found)

    async def agather(self, query: str, *, where: Where | None = None) -> Candidates:
        searches = [
            self.retriever.agather(q.text, where=where, dense_query=q.dense)
            for q in await self.expansion.acall(query)
        ]
        return await asyncio.to_thread(merge_candidates, self.path, await asyncio.gather(*searches))
