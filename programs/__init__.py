"""DSPy modules that answer from passages: what can be compiled.

What is exported here is imported when it is first used, so that reading a recipe loads no DSPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from programs.build import build_program, build_recipe_lm
    from programs.hybrid import HybridRetriever
    from programs.knobs import Knobs, KnobValues
    from programs.lm import build_lm
    from programs.rag import RAG, HybridRAG, RerankRAG
    from programs.recipe import Recipe
    from programs.rerank import CrossEncoder, MaxSim, RerankRetriever

__all__ = [
    "RAG",
    "CrossEncoder",
    "HybridRAG",
    "HybridRetriever",
    "KnobValues",
    "Knobs",
    "MaxSim",
    "Recipe",
    "RerankRAG",
    "RerankRetriever",
    "build_lm",
    "build_program",
    "build_recipe_lm",
]

_HOMES = {
    "RAG": "rag",
    "CrossEncoder": "rerank",
    "HybridRAG": "rag",
    "HybridRetriever": "hybrid",
    "KnobValues": "knobs",
    "Knobs": "knobs",
    "MaxSim": "rerank",
    "Recipe": "recipe",
    "RerankRAG": "rag",
    "RerankRetriever": "rerank",
    "build_lm": "lm",
    "build_program": "build",
    "build_recipe_lm": "build",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
