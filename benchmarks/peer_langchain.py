"""LangChain's hybrid retrieval over the chunks of `peers.py`, which runs this by itself.

    build/peers/bin/python benchmarks/peer_langchain.py FOLDER

`EnsembleRetriever` (reciprocal ranks, equal weights) over `BM25Retriever` and `Chroma`, as its
documentation shows it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import chromadb
from langchain_chroma import Chroma
from langchain_classic.retrievers import EnsembleRetriever
from langchain_community.retrievers import BM25Retriever
from langchain_core.embeddings import Embeddings
from peer_exchange import DEPTH, KEPT, Exchange, Search, run


class Looked(Embeddings):
    """Vectors that were computed before."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        self._vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._vectors[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._vectors[text]


def build(exchange: Exchange) -> Search:
    facts = [{"chunk": id} for id in exchange.ids]
    chroma = Chroma.from_texts(
        exchange.texts,
        Looked(exchange.vector_of()),
        metadatas=facts,
        ids=exchange.ids,
        client=chromadb.PersistentClient(str(exchange.folder / "langchain")),
        collection_metadata={"hnsw:space": "cosine"},
    )
    bm25 = BM25Retriever.from_texts(exchange.texts, metadatas=facts, k=DEPTH)
    both = EnsembleRetriever(
        retrievers=[bm25, chroma.as_retriever(search_kwargs={"k": DEPTH})],
        weights=[0.5, 0.5],
        id_key="chunk",
    )
    return lambda question: [
        found.metadata["chunk"] for found in both.invoke(question)[:KEPT]
    ]  # fmt: skip


if __name__ == "__main__":
    run("langchain", Exchange.read(Path(sys.argv[1])), build)
