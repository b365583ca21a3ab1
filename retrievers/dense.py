"""The Chroma retriever: passages by the cosine between question and passage vectors."""

from __future__ import annotations

from ragwright.retrievers.base import Retriever
from ragwright.retrievers.index import aopen_index
from ragwright.retrievers.stores.base import Where


class ChromaRetriever(Retriever):
    """Dense retrieval from the Chroma collection of an index; scores are cosines."""

    signal = "dense"

    def hits(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        return self.index.dense(query, n, where)

    async def ahits(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        index = await aopen_index(self.path)
        return await index.adense(query, n, where)
