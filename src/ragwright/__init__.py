"""Compile retrieval-augmented DSPy programs: retrieval and prompts together, and the proof of it.

What a user meets first is exported here; everything else has its home in one of the four packages
`ragwright.retrievers`, `ragwright.programs`, `ragwright.optimize` and `ragwright.artifacts`.
Nothing is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragwright.artifacts.server.run import serve
    from ragwright.artifacts.store import load, save
    from ragwright.optimize.compile import compile_program
    from ragwright.optimize.joint import JointOptimizer
    from ragwright.optimize.scoring.evaluate import evaluate
    from ragwright.optimize.spending.budget import Caps
    from ragwright.programs.hybrid import HybridRetriever
    from ragwright.programs.kinds import RerankRAG
    from ragwright.programs.lm import build_lm
    from ragwright.programs.rag import RAG
    from ragwright.programs.recipe import Recipe
    from ragwright.programs.rerank import MaxSim, RerankRetriever
    from ragwright.retrievers.dense import ChromaRetriever
    from ragwright.retrievers.documents.reading import read_documents
    from ragwright.retrievers.ingest import delete_documents, ingest, upsert_documents
    from ragwright.retrievers.sparse import KeywordRetriever
    from ragwright.retrievers.types import Document

__all__ = [
    "RAG",
    "Caps",
    "ChromaRetriever",
    "Document",
    "HybridRetriever",
    "JointOptimizer",
    "KeywordRetriever",
    "MaxSim",
    "Recipe",
    "RerankRAG",
    "RerankRetriever",
    "__version__",
    "build_lm",
    "compile_program",
    "delete_documents",
    "evaluate",
    "ingest",
    "load",
    "read_documents",
    "save",
    "serve",
    "upsert_documents",
]

_HOMES = {
    "Caps": "optimize.spending.budget",
    "ChromaRetriever": "retrievers.dense",
    "Document": "retrievers.types",
    "HybridRetriever": "programs.hybrid",
    "JointOptimizer": "optimize.joint",
    "KeywordRetriever": "retrievers.sparse",
    "MaxSim": "programs.rerank",
    "RAG": "programs.rag",
    "Recipe": "programs.recipe",
    "RerankRAG": "programs.kinds",
    "RerankRetriever": "programs.rerank",
    "build_lm": "programs.lm",
    "compile_program": "optimize.compile",
    "delete_documents": "retrievers.ingest",
    "evaluate": "optimize.scoring.evaluate",
    "ingest": "retrievers.ingest",
    "load": "artifacts.store",
    "read_documents": "retrievers.documents.reading",
    "save": "artifacts.store",
    "serve": "artifacts.server.run",
    "upsert_documents": "retrievers.ingest",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("ragwright")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
