"""Documents in, scored passages out. Knows no language model.

What is exported here is imported when it is first used, so that the `rag` command starts without
Chroma and DSPy. `retrievers.ingest.ingest` builds what these read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
