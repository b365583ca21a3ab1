"""The keyword retriever: passages by BM25."""

from __future__ import annotations

from ragwright.retrievers.base import Retriever
from ragwright.retrievers.types import Where


class KeywordRetriever(Retriever):
    """Keyword retrieval from the BM25 part of an index; finds only what shares a word."""

    signal = "bm25"

    def hits(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        return self.index.keyword(query, n, where)
