"""Rerankers, which score chunks for a question, and the retrieval stage around them.

`MaxSim` reads the token vectors that the index keeps, `CrossEncoder` and `LibraryReranker` read
texts with a model (see `encoders.py`). Those by a language model are in `lm_rerank.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import dspy
import numpy as np
from dspy.utils.exceptions import AdapterParseError

from ragwright.programs.candidates import Candidates
from ragwright.programs.encoders import DEFAULT_CROSS_ENCODER, library_scores, pair_scores
from ragwright.programs.fallback import note_degradation
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.sections import DEFAULT_RERANKER
from ragwright.programs.selection import Ranking, rank, shortlist
from ragwright.programs.signals import Signal, scale_by_sigmoid
from ragwright.programs.stage import RetrievalStage
from ragwright.retrievers.argument_checks import check_type, folder_as_text, short_repr
from ragwright.retrievers.embedding.base import Backend, Floats, Integers
from ragwright.retrievers.errors import InputError, StageError
from ragwright.retrievers.index import open_index
from ragwright.retrievers.types import Where

_LIBRARY = "library:"
CROSS = Signal("cross", "cross-encoder", scale_by_sigmoid)
"""What models give that read question and passage together: a logit."""


class Reranker(dspy.Module):
    """Scores chunks of an index against a question; higher is better.

    Args:
        path: The folder of the index that holds the chunks.

    Attributes:
        name: What a recipe calls it.
        signal: What its scores are called, how they are scaled, and what else of it can be tuned.
            Where a pool cannot store its score of every candidate, since that would be too dear
            (a language model), the knobs before it are tuned without it.
        needs_writer: Whether it asks a language model to write.
        depth: Most chunks that it is ever asked for at once; None for no limit of its own.
    """

    name: ClassVar[str] = ""
    signal: ClassVar[Signal]
    needs_writer: ClassVar[bool] = False
    depth: int | None = None

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = folder_as_text(path)

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        """Return the score of each chunk, NaN where it gives none."""
        raise NotImplementedError

    async def aforward(self, query: str, ids: Sequence[str]) -> list[float]:
        # Of the class: DSPy warns of every `self.forward` outside `__call__`, and a second
        # `__call__` would run callbacks twice.
        return await asyncio.to_thread(type(self).forward, self, query, ids)

    def texts(self, ids: Sequence[str]) -> list[str]:
        """Return the chunks' texts; "" for ids that the index does not hold."""
        found = {passage.id: str(passage) for passage in open_index(self.path).passages(ids)}
        return [found.get(id, "") for id in ids]


class MaxSim(Reranker):
    """Late interaction over stored token vectors: no model runs but for the question."""

    name = "maxsim"
    signal = Signal("maxsim", "MaxSim")

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        """Return the MaxSim of each chunk; 0 for ids that the index does not hold."""
        return open_index(self.path).maxsim(query, ids)


class CrossEncoder(Reranker):
    """A sentence-transformers cross-encoder, by name, loaded once per process.

    Args:
        path: The folder of the index that holds the texts.
        model: A hub name or a local folder.
        backend: What runs it; "onnx" and "openvino" need their extra of sentence-transformers.
    """

    name = "cross-encoder"
    signal = CROSS

    def __init__(
        self, path: str | Path, model: str = DEFAULT_CROSS_ENCODER, *, backend: Backend = "torch"
    ) -> None:
        super().__init__(path)
        self.model = model
        self.backend = backend

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        """Return the logit of each chunk.

        Raises:
            ModelError: The model cannot be loaded.
        """
        return pair_scores(self.model, self.backend, query, self.texts(ids))


class LibraryReranker(Reranker):
    """Any model of the `rerankers` library, such as "flashrank" or "colbert".

    Args:
        path: The folder of the index that holds the texts.
        model: What that library calls it, or a hub name.
    """

    name = "library"
    signal = CROSS

    def __init__(self, path: str | Path, model: str) -> None:
        super().__init__(path)
        self.model = model

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        """Return the score of each chunk, on the model's own scale.

        Raises:
            ModelError: The library or the model is not there.
        """
        return library_scores(self.model, query, self.texts(ids))


def reranker_named(path: str | Path, name: str, *, backend: Backend = "torch") -> Reranker:
    """Return one of ours that no language model is: the default, a library's, a cross-encoder.

    Args:
        path: The folder of the index.
        name: As a recipe has it.
        backend: What runs a cross-encoder.
    """
    if name == DEFAULT_RERANKER:
        return MaxSim(path)
    if name.startswith(_LIBRARY):
        return LibraryReranker(path, name.removeprefix(_LIBRARY))
    return CrossEncoder(path, name, backend=backend)


class RerankRetriever(RetrievalStage):
    """Fuses like its retriever, then scores the best with a reranker and ranks anew.

    Args:
        retriever: What finds the candidates.
        reranker: What scores the `rerank_depth` best of them.
        knobs: Shared with the retriever; by default the retriever's own, in which the reranker
            then weighs `START` unless they give it a weight.
    """

    def __init__(
        self, retriever: RetrievalStage, reranker: Reranker, *, knobs: Knobs | None = None
    ) -> None:
        check_type("retriever", retriever, RetrievalStage)
        check_type("reranker", reranker, Reranker)
        super().__init__(retriever.path, knobs=knobs or retriever.knobs)
        self.retriever = retriever
        self.reranker = reranker
        self.knobs.declare(reranker.signal)
        if knobs is None:
            self.knobs.values = self.knobs.values.starting(reranker.signal)

    @property
    def signals(self) -> tuple[Signal, ...]:
        return (*self.retriever.signals, self.reranker.signal)

    @property
    def threaded(self) -> bool:
        # A thread cannot be stopped when a question is cancelled: no model's turn comes in it.
        return self.retriever.threaded and type(self.reranker) is MaxSim

    def ranked(
        self, query: str, knobs: KnobValues, where: Where | None
    ) -> tuple[Candidates, Ranking]:
        candidates = self.varied(self.retriever.gather(query, where=where), knobs)
        columns = shortlist(candidates, knobs)
        if self._wanted(knobs):
            candidates = self._scored(query, candidates, columns)
        return candidates, rank(candidates, columns, knobs)

    async def aranked(
        self, query: str, knobs: KnobValues, where: Where | None
    ) -> tuple[Candidates, Ranking]:
        candidates = await self.retriever.agather(query, where=where)
        candidates = await self.avaried(candidates, knobs)
        columns = shortlist(candidates, knobs)
        if self._wanted(knobs):
            candidates = await self._ascored(query, candidates, columns)
        return candidates, rank(candidates, columns, knobs)

    def gather(self, query: str, *, where: Where | None = None) -> Candidates:
        candidates = self.retriever.gather(query, where=where)
        if not self.reranker.signal.replayed:
            return candidates
        return self._scored(query, candidates, _all(candidates))

    async def agather(self, query: str, *, where: Where | None = None) -> Candidates:
        candidates = await self.retriever.agather(query, where=where)
        if not self.reranker.signal.replayed:
            return candidates
        return await self._ascored(query, candidates, _all(candidates))

    def reranked(self, query: str, candidates: Candidates, knobs: KnobValues) -> Candidates:
        if self.reranker.signal.replayed or not self._wanted(knobs):
            return candidates
        return self._scored(query, candidates, shortlist(candidates, knobs))

    def _wanted(self, knobs: KnobValues) -> bool:
        return bool(knobs.weight(self.reranker.signal.name))

    def _scored(self, query: str, candidates: Candidates, columns: Integers) -> Candidates:
        columns = columns[:, : self.reranker.depth]
        ids = _ids(candidates, columns)
        try:
            scores = self.guard.call(
                "rerank",
                self._backend,
                lambda: self._checked(self.reranker(query, ids), ids) if ids else [],
            )
        except (StageError, AdapterParseError) as error:
            note_degradation("rerank", error, used="the fused order")
            return candidates
        return self._added(candidates, columns, scores)

    async def _ascored(self, query: str, candidates: Candidates, columns: Integers) -> Candidates:
        columns = columns[:, : self.reranker.depth]
        ids = _ids(candidates, columns)
        if not ids:
            return self._added(candidates, columns, [])
        try:
            scores = await self.guard.acall(
                "rerank", self._backend, lambda: self._asked(query, ids)
            )
        except (StageError, AdapterParseError) as error:
            note_degradation("rerank", error, used="the fused order")
            return candidates
        return self._added(candidates, columns, scores)

    async def _asked(self, query: str, ids: list[str]) -> list[float]:
        return self._checked(await self.reranker.acall(query, ids), ids)

    def _checked(self, scores: object, ids: Sequence[str]) -> list[float]:
        """Return scores as numbers, NaN where there is none.

        Raises:
            InputError: They are not one number for each chunk.
        """
        try:
            with np.errstate(over="ignore"):
                found = np.asarray(scores, dtype=np.float32)
        except (TypeError, ValueError):
            found = np.empty(0, dtype=np.float32)
        if found.shape != (len(ids),) or np.isinf(found).any():
            raise InputError(
                f"The reranker {self.reranker.signal.name!r} returned {short_repr(scores)} for "
                f"{len(ids)} chunks.",
                hint="Return a list with one number for each id, in their order; NaN for none.",
            )
        return [float(score) for score in found]

    @property
    def _backend(self) -> str:
        return str(getattr(self.reranker, "model", self.reranker.signal.name))

    def _added(
        self, candidates: Candidates, columns: Integers, scores: Sequence[float]
    ) -> Candidates:
        table: Floats = np.full(columns.shape, np.nan, dtype=np.float32)
        table[columns >= 0] = scores
        return candidates.with_signal(self.reranker.signal, columns, table)


def _all(candidates: Candidates) -> Integers:
    return np.arange(len(candidates.ids[0]), dtype=np.int64)[None, :]


def _ids(candidates: Candidates, columns: Integers) -> list[str]:
    return [candidates.ids[0][column] for column in columns[0] if column >= 0]
