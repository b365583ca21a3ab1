"""Opens the store that a URL names: one of ours, or a class from outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ragwright.retrievers.stamp import Stamp
from ragwright.retrievers.stores.base import StoreURL, VectorStore
from ragwright.retrievers.trust import is_reference, resolve_class_with

if TYPE_CHECKING:
    from ragwright.retrievers.stores.attached import AttachedStore, Passing


def store_of_index(
    stamp: Stamp, folder: Path, *, create: bool, passing: Passing
) -> VectorStore | AttachedStore:
    """Open the store of an index: its own, or the collection that it is attached to.

    Args:
        stamp: The stamp on the index.
        folder: The folder of the index.
        create: Make a store of its own if it is missing.
        passing: Which chunks pass a filter; asked for an attached collection alone.

    Raises:
        IndexFault: It is missing, cannot be reached, or its client library is not installed.
    """
    place = stamp.store(folder)
    if stamp.attached is None:
        return open_store(place, dimension=stamp.identity.dimension, create=create)
    from ragwright.retrievers.stores.attached import AttachedStore

    return AttachedStore(place, folder, note=stamp.note, how=stamp.attached, passing=passing)


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
        made: VectorStore = resolve_class_with(url.kind, "upsert", "query")(
            url, dimension=dimension, create=create
        )
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
