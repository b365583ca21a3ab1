"""Documents in, scored passages out. Knows no language model.

What is exported here is imported when it is first used, so that the `rag` command starts without
Chroma and DSPy. `retrievers.ingest.ingest` builds what these read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrievers.lazy import exported

if TYPE_CHECKING:
    from retrievers.chunking import ChunkSettings
    from retrievers.dense import ChromaRetriever
    from retrievers.documents import read_documents
    from retrievers.errors import RagError
    from retrievers.index import Index, IndexSettings, open_index
    from retrievers.sparse import KeywordRetriever
    from retrievers.types import Chunk, Document, Passage, RetrievalResult

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
    "RetrievalResult": "types",
    "open_index": "index",
    "read_documents": "documents",
}

__getattr__, __dir__ = exported(__name__, _HOMES)
