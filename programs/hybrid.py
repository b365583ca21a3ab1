"""Dense and BM25 retrieval, fused: a `dspy.Module` over two retrievers."""

from __future__ import annotations

import asyncio

import dspy

from programs.context import NUMBER_TOKENS
from programs.knobs import POOL_DEPTH, Knobs
from programs.selection import Candidates, Ranking, rank, shortlist
from retrievers.dense import ChromaRetriever
from retrievers.index import open_index
from retrievers.sparse import KeywordRetriever
from retrievers.stores.base import Where
from retrievers.types import RetrievalResult


class HybridRetriever(dspy.Module):
    """Asks a dense and a keyword retriever over one index, and fuses what they find.

    Args:
        path: The folder of the index.
        knobs: Weights, depths, fusion and k; shared with the program that holds it.
    """

    def __init__(self, path: str, *, knobs: Knobs | None = None) -> None:
        super().__init__()
        self.path = path
        self.knobs = knobs or Knobs()
        self.dense = ChromaRetriever(path)
        self.keyword = KeywordRetriever(path)

    def forward(
        self, query: str, k: int | None = None, *, where: Where | None = None
    ) -> RetrievalResult:
        candidates = self.gather(query, where=where)
        knobs = self.knobs.values if k is None else self.knobs.values.replaced(k=k)
        ranking = rank(candidates, shortlist(candidates, knobs), knobs)
        return passages_of(self.path, candidates, ranking)

    async def aforward(
        self, query: str, k: int | None = None, *, where: Where | None = None
    ) -> RetrievalResult:
        return await asyncio.to_thread(self.forward, query, k, where=where)

    def gather(self, query: str, *, where: Where | None = None) -> Candidates:
        """Return what both sources find, before any choice.

        Both are asked whatever their weights, so that a stored pool and a live search hold the
        same candidates in the same order.
        """
        dense = self.dense.hits(query, POOL_DEPTH, where)
        keyword = self.keyword.hits(query, POOL_DEPTH, where)
        stored = open_index(self.path).tokens(list(dict.fromkeys([*dense, *keyword])))
        tokens = {id: count + NUMBER_TOKENS for id, count in stored.items()}
        return Candidates.union(dense, keyword, tokens)


def passages_of(path: str, candidates: Candidates, ranking: Ranking) -> RetrievalResult:
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
    return RetrievalResult.of(passages)
