"""Rerankers: a question and candidates in, one score per candidate out.

`MaxSim` reads the token vectors that the index keeps and needs no model beyond the embedder.
`CrossEncoder` reads texts with a sentence-transformers cross-encoder.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import dspy
import numpy as np

from programs.hybrid import HybridRetriever, passages_of
from programs.knobs import Knobs
from programs.selection import Candidates, Integers, rank, shortlist
from retrievers.embedding import Floats
from retrievers.errors import ModelError
from retrievers.index import open_index
from retrievers.stores.base import Where
from retrievers.types import RetrievalResult

DEFAULT_CROSS_ENCODER = "cross-encoder/ms-marco-MiniLM-L6-v2"


class Reranker(Protocol):
    """Scores chunks of an index against a question; higher is better."""

    signal: str
    """The name of its scores among the signals: "maxsim" or "cross"."""

    def score(self, query: str, ids: Sequence[str]) -> list[float]: ...


class MaxSim(dspy.Module):
    """Late interaction over stored token vectors: no model runs but for the question."""

    signal = "maxsim"

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def score(self, query: str, ids: Sequence[str]) -> list[float]:
        """Return the MaxSim of each chunk; 0 for ids that the index does not hold."""
        return open_index(self.path).maxsim(query, ids)

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        return self.score(query, ids)


class CrossEncoder(dspy.Module):
    """A sentence-transformers cross-encoder, by name, loaded once per process.

    Args:
        path: The folder of the index that holds the texts.
        model: A hub name or a local folder.
    """

    signal = "cross"

    def __init__(self, path: str, model: str = DEFAULT_CROSS_ENCODER) -> None:
        super().__init__()
        self.path = path
        self.model = model

    def score(self, query: str, ids: Sequence[str]) -> list[float]:
        """Return the logit of each chunk.

        Raises:
            ModelError: The model cannot be loaded.
        """
        found = {passage.id: str(passage) for passage in open_index(self.path).passages(ids)}
        pairs = [(query, found.get(id, "")) for id in ids]
        return [float(score) for score in _load_cross_encoder(self.model).predict(pairs)]

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        return self.score(query, ids)


class RerankRetriever(dspy.Module):
    """Fuses like its `HybridRetriever`, then scores the best with a reranker and ranks anew.

    Args:
        retriever: What finds the candidates.
        reranker: What scores the `rerank_depth` best of them.
        knobs: Shared with the retriever.
    """

    def __init__(self, retriever: HybridRetriever, reranker: Reranker, *, knobs: Knobs) -> None:
        super().__init__()
        self.knobs = knobs
        self.retriever = retriever
        self.reranker = reranker

    def forward(
        self, query: str, k: int | None = None, *, where: Where | None = None
    ) -> RetrievalResult:
        knobs = self.knobs.values if k is None else self.knobs.values.replaced(k=k)
        candidates = self.retriever.gather(query, where=where)
        columns = shortlist(candidates, knobs)
        if getattr(knobs, f"weight_{self.reranker.signal}"):
            candidates = self._added(query, candidates, columns)
        return passages_of(self.retriever.path, candidates, rank(candidates, columns, knobs))

    async def aforward(
        self, query: str, k: int | None = None, *, where: Where | None = None
    ) -> RetrievalResult:
        return await asyncio.to_thread(self.forward, query, k, where=where)

    def gather(self, query: str, *, where: Where | None = None) -> Candidates:
        """Return all candidates, before any choice, with the reranker's score of each one."""
        candidates = self.retriever.gather(query, where=where)
        columns = np.arange(len(candidates.ids[0]), dtype=np.int64)[None, :]
        return self._added(query, candidates, columns)

    def _added(self, query: str, candidates: Candidates, columns: Integers) -> Candidates:
        ids = [candidates.ids[0][column] for column in columns[0] if column >= 0]
        scores: Floats = np.full(columns.shape, np.nan, dtype=np.float32)
        scores[columns >= 0] = self.reranker.score(query, ids) if ids else []
        return candidates.with_signal(self.reranker.signal, columns, scores)


_LOCK = threading.Lock()
_LOADED: dict[str, Any] = {}


def _load_cross_encoder(model: str) -> Any:
    with _LOCK:
        if model not in _LOADED:
            _LOADED[model] = _build_cross_encoder(model)
        return _LOADED[model]


def _build_cross_encoder(model: str) -> Any:
    from sentence_transformers import CrossEncoder as Loaded

    try:
        return Loaded(model, device="cpu")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The cross-encoder {model!r} cannot be loaded: {str(error).splitlines()[0]}",
            hint='Check the name and the network, or use the offline choice reranker = "maxsim".',
        ) from error
