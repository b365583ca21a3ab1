"""Makes `collections.zip`: small collections as other libraries write them.

Run once, where these libraries are, with this project's `src` on the path:
langchain-chroma 1.1.0, llama-index-vector-stores-chroma 0.6.0 (core 0.14.25), chromadb 1.5.9.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import chromadb
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from llama_index.core import Document as LlamaDocument
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.node_parser import SentenceSplitter
from llama_index.vector_stores.chroma import ChromaVectorStore

from ragwright.retrievers.embedding.hashing import HashEmbedder

TIDES = (
    "The tide is high at noon. Ebb follows within six hours. The moon pulls the water.",
    "Spring tides come with a full moon. Neap tides come with a half moon.",
)
FACTS = {"year": 2020}
HASH = HashEmbedder(64)


def embedded(texts: list[str]) -> list[list[float]]:
    return [vector.tolist() for vector in HASH.encode(texts).vectors]


class OfLangChain(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return embedded(texts)

    def embed_query(self, text: str) -> list[float]:
        return embedded([text])[0]


class OfLlamaIndex(BaseEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        return embedded([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return embedded([query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return embedded([query])[0]


def of_langchain(client: Any) -> None:
    store = Chroma(client=client, collection_name="langchain", embedding_function=OfLangChain())
    sentences = [one + "." for one in TIDES[0].rstrip(".").split(". ")]
    rows = [
        Document(
            one, metadata={"source": "tides.md", "start_index": TIDES[0].index(one), "year": 2020}
        )
        for one in sentences
    ]
    store.add_documents([*rows, Document("A row without metadata about lighthouses.")])


def of_llama_index(client: Any) -> None:
    store = ChromaVectorStore(chroma_collection=client.get_or_create_collection("llama_index"))
    VectorStoreIndex.from_documents(
        [
            LlamaDocument(
                text=TIDES[0], id_="tides", metadata={"file_name": "tides.md", "year": 2020}
            ),
            LlamaDocument(text=TIDES[1], id_="moon"),
        ],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=OfLlamaIndex(),
        transformations=[SentenceSplitter(chunk_size=30, chunk_overlap=0)],
    )


def plain(client: Any) -> None:
    rows = client.create_collection("plain", embedding_function=None,
                                    configuration={"hnsw": {"space": "ip"}})  # fmt: skip
    vectors = [[2 * x for x in vector] for vector in embedded(list(TIDES))]  # of length 2
    rows.add(ids=["one", "two"], documents=list(TIDES), embeddings=vectors,
             metadatas=[{"lang": "en", "start": 7}, {"lang": "de"}])  # fmt: skip
    rows.add(ids=["without text"], embeddings=embedded(["nothing"]))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    opened = chromadb.PersistentClient(str(folder))
    for make in (of_langchain, of_llama_index, plain):
        make(opened)
    opened.close()
    shutil.make_archive(str(Path(__file__).with_name("collections")), "zip", folder)
