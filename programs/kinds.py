"""The RAG programs that recipes name: each builds its own retrieval over an index's folder.

These are the kinds that a recipe can name, but for plain dense retrieval. Which stages retrieve,
and in what order, is said here; knows neither what they do nor how an answer is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ragwright.programs.expand import ExpandedRetriever, Expansion, ExpansionKind
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.knobs import Knobs
from ragwright.programs.multihop import MultiHopRetriever
from ragwright.programs.rag import RAG, RAGOptions
from ragwright.programs.rerank import Reranker, RerankRetriever, reranker_named
from ragwright.programs.sections import DEFAULT_RERANKER
from ragwright.programs.source import SearchSource
from ragwright.programs.stage import RetrievalStage
from ragwright.retrievers.argument_checks import check_type

SourceChoice = Iterable[SearchSource | type[SearchSource]]


class HybridRAG(RAG):
    """RAG over dense and BM25 retrieval, fused by the knobs.

    Args:
        path: The folder of the index.
        sources: Further sources beside dense and BM25, or their classes.
        expansion: How queries are written for a question, if at all.
        knobs: Defaults to equal weights of dense and BM25.
        options: What it does besides.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sources: SourceChoice = (),
        expansion: ExpansionKind | Expansion | None = None,
        knobs: Knobs | None = None,
        options: RAGOptions = RAGOptions(),
    ) -> None:
        stage = _fused(path, sources, expansion, knobs)
        super().__init__(stage, knobs=stage.knobs, options=options)


class RerankRAG(RAG):
    """RAG over dense and BM25 retrieval, reranked.

    Args:
        path: The folder of the index.
        reranker: A reranker, or the name of one as a recipe has it.
        sources: Further sources beside dense and BM25, or their classes.
        expansion: How queries are written for a question, if at all.
        knobs: Defaults to equal weights of dense, BM25 and the reranker.
        options: What it does besides.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        reranker: str | Reranker = DEFAULT_RERANKER,
        sources: SourceChoice = (),
        expansion: ExpansionKind | Expansion | None = None,
        knobs: Knobs | None = None,
        options: RAGOptions = RAGOptions(),
    ) -> None:
        fused = _fused(path, sources, expansion, knobs)
        stage = RerankRetriever(fused, _reranker(path, reranker), knobs=knobs)
        super().__init__(stage, knobs=stage.knobs, options=options)


class MultiHopRAG(RAG):
    """RAG that searches again with queries written from what was found.

    Args:
        path: The folder of the index.
        hops: Most searches for one question.
        reranker: A reranker, or the name of one as a recipe has it; None for none.
        sources: Further sources beside dense and BM25, or their classes.
        expansion: How queries are written for each hop's query, if at all.
        knobs: Defaults to equal weights of dense, BM25 and the reranker.
        options: What it does besides.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        hops: int = 2,
        reranker: str | Reranker | None = None,
        sources: SourceChoice = (),
        expansion: ExpansionKind | Expansion | None = None,
        knobs: Knobs | None = None,
        options: RAGOptions = RAGOptions(),
    ) -> None:
        stage = _fused(path, sources, expansion, knobs)
        if reranker is not None:
            stage = RerankRetriever(stage, _reranker(path, reranker), knobs=knobs)
        hopping = MultiHopRetriever(stage, hops=hops, knobs=stage.knobs)
        super().__init__(hopping, knobs=stage.knobs, options=options)


def _fused(
    path: str | Path,
    sources: SourceChoice,
    expansion: ExpansionKind | Expansion | None,
    knobs: Knobs | None,
) -> RetrievalStage:
    """Build hybrid retrieval, with an expansion before it if one is named."""
    hybrid = HybridRetriever(path, sources=sources, knobs=knobs)
    if expansion is None:
        return hybrid
    made = expansion if isinstance(expansion, Expansion) else Expansion(expansion)
    return ExpandedRetriever(hybrid, made, knobs=hybrid.knobs)


def _reranker(path: str | Path, reranker: str | Reranker) -> Reranker:
    check_type("reranker", reranker, str, Reranker)
    return reranker if isinstance(reranker, Reranker) else reranker_named(path, reranker)
