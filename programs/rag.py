"""Question in, answer with citations out: retrieve, build the context, respond.

`RAG` works over any retrieval stage; `HybridRAG` and `RerankRAG` bring their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy

from programs.context import Context, build_context
from programs.hybrid import HybridRetriever
from programs.knobs import Knobs, KnobValues
from programs.rerank import CrossEncoder, MaxSim, RerankRetriever
from programs.signatures import AnswerWithCitations
from retrievers.stores.base import Where
from retrievers.types import RetrievalResult


class RAG(dspy.Module):
    """Retrieve passages, number them inside the token budget, answer with citations.

    Args:
        retriever: Any stage that is called as `stage(query, k, where=...)` and returns a
            `RetrievalResult`: a `ChromaRetriever`, a `HybridRetriever`, ...
        knobs: How many passages, how many tokens; shared with the retriever's stages.
    """

    def __init__(self, retriever: Any, *, knobs: Knobs | None = None) -> None:
        super().__init__()
        self.knobs = knobs or Knobs(KnobValues.dense())
        self.retriever = retriever
        self.respond = dspy.Predict(AnswerWithCitations)

    def forward(self, question: str, *, where: Where | None = None) -> dspy.Prediction:
        found = self.retriever(question, self.knobs.values.k, where=where)
        context = self._context(found)
        reply = self.respond(context=list(context.numbered), question=question)
        return _answer(reply, context, found)

    async def aforward(self, question: str, *, where: Where | None = None) -> dspy.Prediction:
        found = await self.retriever.acall(question, self.knobs.values.k, where=where)
        context = self._context(found)
        reply = await self.respond.acall(context=list(context.numbered), question=question)
        return _answer(reply, context, found)

    def _context(self, found: RetrievalResult) -> Context:
        return build_context(found.passages, self.knobs.values.context_tokens)


class HybridRAG(RAG):
    """RAG over dense and BM25 retrieval, fused by the knobs.

    Args:
        path: The folder of the index.
        knobs: Defaults to equal weights of dense and BM25.
    """

    def __init__(self, path: str, *, knobs: Knobs | None = None) -> None:
        knobs = knobs or Knobs()
        super().__init__(HybridRetriever(path, knobs=knobs), knobs=knobs)


class RerankRAG(RAG):
    """RAG over dense and BM25 retrieval, reranked.

    Args:
        path: The folder of the index.
        reranker: "maxsim", or the name of a cross-encoder.
        knobs: Defaults to equal weights of dense, BM25 and the reranker.
    """

    def __init__(self, path: str, *, reranker: str = "maxsim", knobs: Knobs | None = None) -> None:
        chosen = MaxSim(path) if reranker == "maxsim" else CrossEncoder(path, reranker)
        knobs = knobs or Knobs(KnobValues().replaced(**{f"weight_{chosen.signal}": 0.5}))
        hybrid = HybridRetriever(path, knobs=knobs)
        super().__init__(RerankRetriever(hybrid, chosen, knobs=knobs), knobs=knobs)


def _answer(reply: dspy.Prediction, context: Context, found: RetrievalResult) -> dspy.Prediction:
    return dspy.Prediction(
        answer=reply.answer,
        citations=_existing(reply.citations, len(context.passages)),
        context=list(context.numbered),
        passages=list(context.passages),
        retrieved=found,
    )


def _existing(numbers: Sequence[int] | None, count: int) -> list[int]:
    """Keep each number once, and only if it is the number of a passage."""
    return [number for number in dict.fromkeys(numbers or ()) if 1 <= number <= count]
