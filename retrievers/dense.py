"""The Chroma retriever: passages by the cosine between question and passage vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from ragwright.retrievers.base import Retriever
from ragwright.retrievers.index import aopen_index
from ragwright.retrievers.types import Where


class ChromaRetriever(Retriever):
    """Dense retrieval from the Chroma collection of an index; scores are cosines."""

    signal = "dense"

    @classmethod
    def attach(
        cls, source: object, index: str | Path | None = None, *, k: int = 5, **options: Any
    ) -> Self:
        """Search a collection that is there already, where it is; nothing in it is written.

        What it lacks, a keyword index among it, is built beside it, so that every stage and
        program works on the index's folder, `path`. The next call reads what its owner wrote since.

        Args:
            source: `chroma:PATH#NAME`, `chroma+http://HOST:PORT#NAME`, the same with `qdrant`, or a
                chromadb `Collection`.
            index: The folder of the index; by default one below `.rag/attached`.
            k: How many passages to return.
            options: The fields of `AttachOptions`: `embedder` above all.

        Raises:
            InputError: The source is none of these, or the embedder has to be named.
            IdentityError: The embedder did not make the collection's vectors.
            IndexFault: The collection is not there, or the folder is another index's.
        """
        from ragwright.retrievers.attach import AttachOptions, attach

        return cls(attach(source, index, AttachOptions(**options)).index, k=k)

    def hits(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        return self.index.dense(query, n, where)

    async def ahits(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        index = await aopen_index(self.path)
        return await index.adense(query, n, where)
