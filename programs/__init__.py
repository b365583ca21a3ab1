"""DSPy modules that answer from passages: what can be compiled.

What is exported here is imported when it is first used, so that reading a recipe loads no DSPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragwright.retrievers.lazy import lazy_exports

if TYPE_CHECKING:
    from ragwright.programs.adopting import expose_knobs
    from ragwright.programs.anatomy import protect
    from ragwright.programs.build import build_program, build_recipe_lm, gather, protect_program
    from ragwright.programs.candidates import Candidates
    from ragwright.programs.expand import ExpandedRetriever, Expansion
    from ragwright.programs.fallback import degradations
    from ragwright.programs.hybrid import HybridRetriever
    from ragwright.programs.kinds import HybridRAG, MultiHopRAG, RerankRAG
    from ragwright.programs.knobs import Knobs, KnobValues
    from ragwright.programs.limits import FallbackSettings
    from ragwright.programs.lm import build_lm
    from ragwright.programs.lm_rerank import ListwiseReranker, PointwiseReranker
    from ragwright.programs.multihop import MultiHopRetriever
    from ragwright.programs.rag import RAG, RAGOptions
    from ragwright.programs.recipe import Recipe
    from ragwright.programs.replies.adapter import ReplyAdapter
    from ragwright.programs.replies.calling import reading
    from ragwright.programs.rerank import (
        CrossEncoder,
        LibraryReranker,
        MaxSim,
        Reranker,
        RerankRetriever,
    )
    from ragwright.programs.selection import select
    from ragwright.programs.signals import Number, Signal
    from ragwright.programs.source import SearchSource
    from ragwright.programs.streaming import stream

__all__ = [
    "RAG",
    "Candidates",
    "CrossEncoder",
    "ExpandedRetriever",
    "Expansion",
    "FallbackSettings",
    "HybridRAG",
    "HybridRetriever",
    "KnobValues",
    "Knobs",
    "LibraryReranker",
    "ListwiseReranker",
    "MaxSim",
    "MultiHopRAG",
    "MultiHopRetriever",
    "Number",
    "PointwiseReranker",
    "RAGOptions",
    "Recipe",
    "ReplyAdapter",
    "RerankRAG",
    "RerankRetriever",
    "Reranker",
    "SearchSource",
    "Signal",
    "build_lm",
    "build_program",
    "build_recipe_lm",
    "degradations",
    "expose_knobs",
    "gather",
    "protect",
    "protect_program",
    "reading",
    "select",
    "stream",
]

_HOMES = {
    "Candidates": "candidates",
    "CrossEncoder": "rerank",
    "ExpandedRetriever": "expand",
    "Expansion": "expand",
    "FallbackSettings": "limits",
    "HybridRAG": "kinds",
    "HybridRetriever": "hybrid",
    "KnobValues": "knobs",
    "Knobs": "knobs",
    "LibraryReranker": "rerank",
    "ListwiseReranker": "lm_rerank",
    "MaxSim": "rerank",
    "MultiHopRAG": "kinds",
    "MultiHopRetriever": "multihop",
    "Number": "signals",
    "PointwiseReranker": "lm_rerank",
    "RAG": "rag",
    "RAGOptions": "rag",
    "Recipe": "recipe",
    "ReplyAdapter": "replies.adapter",
    "RerankRAG": "kinds",
    "RerankRetriever": "rerank",
    "Reranker": "rerank",
    "SearchSource": "source",
    "Signal": "signals",
    "build_lm": "lm",
    "build_program": "build",
    "build_recipe_lm": "build",
    "degradations": "fallback",
    "expose_knobs": "adopting",
    "gather": "build",
    "protect": "anatomy",
    "protect_program": "build",
    "reading": "replies.calling",
    "select": "selection",
    "stream": "streaming",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
