"""LlamaIndex's hybrid retrieval over the chunks of `peers.py`, which runs this by itself.

    build/peers/bin/python benchmarks/peer_llamaindex.py FOLDER

`QueryFusionRetriever` (reciprocal ranks, no rewritten queries) over `BM25Retriever` with a stemmer
and a vector index in Chroma, as its documentation shows it. Nodes say which chunk they are, outside
of what is searched: those of one text and no metadata count as one when they are fused, each again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import chromadb
import Stemmer
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import TextNode
from llama_index.retrievers.bm25 import BM25Retriever
from llama_index.vector_stores.chroma import ChromaVectorStore
from peer_exchange import DEPTH, KEPT, Exchange, Search, run


class Looked(BaseEmbedding):
    """Vectors that were computed before."""

    vectors: dict[str, list[float]]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self.vectors[text]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.vectors[query]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self.vectors[query]


def build(exchange: Exchange) -> Search:
    nodes = [
        TextNode(
            id_=id,
            text=text,
            embedding=row.tolist(),
            metadata={"chunk": id},
            excluded_embed_metadata_keys=["chunk"],
        )
        for id, text, row in zip(exchange.ids, exchange.texts, exchange.vectors, strict=True)
    ]
    client = chromadb.PersistentClient(str(exchange.folder / "llamaindex"))
    collection = client.create_collection("chunks", metadata={"hnsw:space": "cosine"})
    index = VectorStoreIndex(
        nodes,
        storage_context=StorageContext.from_defaults(
            vector_store=ChromaVectorStore(chroma_collection=collection)
        ),
        embed_model=Looked(vectors=exchange.vector_of()),
    )
    bm25 = BM25Retriever.from_defaults(
        nodes=nodes, similarity_top_k=DEPTH, stemmer=Stemmer.Stemmer("english"), language="english"
    )
    both = QueryFusionRetriever(
        [index.as_retriever(similarity_top_k=DEPTH), bm25],
        similarity_top_k=KEPT,
        num_queries=1,
        mode="reciprocal_rerank",
        use_async=False,
        llm=MockLLM(),
    )
    return lambda question: [found.node.node_id for found in both.retrieve(question)]


if __name__ == "__main__":
    run("llamaindex", Exchange.read(Path(sys.argv[1])), build)
