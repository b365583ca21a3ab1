"""Retrieves: indexes documents and finds passages with scores. Knows no language model.

What is exported here is imported when it is first used, so that the `rag` command starts without
Chroma and DSPy. `ragwright.retrievers.ingest.ingest` builds what these read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragwright.retrievers.lazy import lazy_exports

if TYPE_CHECKING:
    from ragwright.retrievers.chunking import ChunkSettings
    from ragwright.retrievers.cluster import ray_cluster
    from ragwright.retrievers.dense import ChromaRetriever
    from ragwright.retrievers.documents import read_documents
    from ragwright.retrievers.errors import RagError
    from ragwright.retrievers.index import Index, IndexSettings, open_index
    from ragwright.retrievers.result import RetrievalResult
    from ragwright.retrievers.sparse import KeywordRetriever
    from ragwright.retrievers.types import Chunk, Document, Passage

__all__ = [
    "ChromaRetriever",
    "Chunk",
    "ChunkSettings",
    "Document",
    "Index",
    "IndexSettings",
    "KeywordRetriever",
    "Passage",
    "RagError",
    "RetrievalResult",
    "open_index",
    "ray_cluster",
    "read_documents",
]

_HOMES = {
    "ChromaRetriever": "dense",
    "Chunk": "types",
    "ChunkSettings": "chunking",
    "Document": "types",
    "Index": "index",
    "IndexSettings": "index",
    "KeywordRetriever": "sparse",
    "Passage": "types",
    "RagError": "errors",
    "RetrievalResult": "result",
    "open_index": "index",
    "ray_cluster": "cluster",
    "read_documents": "documents",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
