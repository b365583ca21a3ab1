"""The Chroma retriever: passages by the cosine between question and passage vectors."""

from __future__ import annotations

from retrievers.base import Retriever
from retrievers.stores.base import Where


class ChromaRetriever(Retriever):
    """Dense retrieval from the Chroma collection of an index; scores are cosines."""

    signal = "dense"

    def hits(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        return self.index.dense(query, n, where)
