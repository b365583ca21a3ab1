"""Opens the store that a URL names: one of ours, or a class from outside."""

from __future__ import annotations

from ragwright.retrievers.stores.base import StoreURL, VectorStore
from ragwright.retrievers.trust import imported, is_reference


def open_store(url: StoreURL, *, dimension: int | None, create: bool = False) -> VectorStore:
    """Open the collection that a URL names.

    Args:
        url: Where it is.
        dimension: Length of its vectors; None to take what is there.
        create: Make the collection if it is missing; otherwise that is an error.

    Raises:
        IndexFault: The collection is missing, the store cannot be reached, or its client library
            is not installed.
    """
    if is_reference(url.kind):
        made: VectorStore = imported(url.kind)(url, dimension=dimension, create=create)
        return made
    match url.kind:
        case "qdrant":
            from ragwright.retrievers.stores.qdrant import QdrantStore

            return QdrantStore(url, dimension=dimension, create=create)
        case "weaviate":
            from ragwright.retrievers.stores.weaviate import WeaviateStore

            return WeaviateStore(url, create=create)
        case "pinecone":
            from ragwright.retrievers.stores.pinecone import PineconeStore

            return PineconeStore(url, dimension=dimension, create=create)
    from ragwright.retrievers.stores.chroma import ChromaStore

    return ChromaStore(url, create=create)
