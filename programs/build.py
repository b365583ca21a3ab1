"""A recipe in, a fresh program out: nothing learned, no index opened until it is called."""

from __future__ import annotations

import dspy

from programs.hybrid import HybridRetriever
from programs.knobs import Knobs
from programs.lm import build_lm
from programs.rag import RAG, HybridRAG, RerankRAG
from programs.recipe import Recipe
from programs.selection import Candidates
from retrievers.dense import ChromaRetriever
from retrievers.index import IndexSettings


def build_program(recipe: Recipe, *, lm: dspy.LM | None = None) -> RAG:
    """Build the program that a recipe names, with the knobs it starts from.

    Args:
        recipe: What to build.
        lm: Set on every predictor; without one, DSPy's configured LM answers.
    """
    program = _program(recipe, Knobs(recipe.knobs))
    if lm is not None:
        program.set_lm(lm)
    return program


def build_recipe_lm(recipe: Recipe) -> dspy.LM:
    """Build the language model that a recipe names.

    Raises:
        ModelError: There is no such model.
    """
    settings = recipe.lm.model_dump(exclude={"model"}, exclude_none=True)
    return build_lm(recipe.lm.model, embedder=recipe.index.embedder, **settings)


def index_settings(recipe: Recipe) -> IndexSettings:
    """Return how the recipe's index is made."""
    return IndexSettings(embedder=recipe.index.embedder, chunking=recipe.index.chunking)


def gather(program: RAG, question: str) -> Candidates:
    """Return all candidates for a question with every signal that the program can compute."""
    if isinstance(program.retriever, ChromaRetriever):
        return HybridRetriever(program.retriever.path).gather(question)
    found: Candidates = program.retriever.gather(question)
    return found


def tunable_knobs(recipe: Recipe) -> frozenset[str]:
    """Return the names of the knobs that the recipe's program reads."""
    names = {"k", "context_tokens"}
    if recipe.program.kind != "rag":
        names |= {"weight_dense", "weight_bm25", "fusion", "rrf_constant", "score_threshold"}
        names |= {"depth_dense", "depth_bm25"}
    if recipe.program.kind == "rerank":
        signal = "maxsim" if recipe.program.reranker == "maxsim" else "cross"
        names |= {f"weight_{signal}", "rerank_depth"}
    return frozenset(names)


def _program(recipe: Recipe, knobs: Knobs) -> RAG:
    path = recipe.index.path
    match recipe.program.kind:
        case "rag":
            return RAG(ChromaRetriever(path, k=knobs.values.k), knobs=knobs)
        case "hybrid":
            return HybridRAG(path, knobs=knobs)
        case "rerank":
            return RerankRAG(path, reranker=recipe.program.reranker, knobs=knobs)
