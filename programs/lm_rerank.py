"""A language model as the reranker: it orders passages, or judges each of them.

Both are predictors that optimizers can rewrite, and need a language model that writes. A pool does
not store their scores: that would take a call for every candidate of every question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import dspy

from ragwright.programs.replies.calling import acall_predictor, call_predictor
from ragwright.programs.rerank import Reranker
from ragwright.programs.signals import Signal
from ragwright.programs.signatures import JudgePassage, RankPassages

WINDOW = 20
"""Passages that a language model orders at once (as in RankGPT; Sun et al., EMNLP 2023)."""

LM = Signal("lm", "language model", replayed=False)


class ListwiseReranker(Reranker):
    """One call that orders the best passages; a passage it leaves out gets no score."""

    name = "listwise"
    signal = LM
    needs_writer = True
    depth = WINDOW

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.order = dspy.Predict(RankPassages)

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        """Return 1 for the first place, falling evenly to 1/n for the last."""
        reply = call_predictor(self.order, context=self._numbered(ids), question=query)
        return _by_place(reply.ranking, len(ids))

    async def aforward(self, query: str, ids: Sequence[str]) -> list[float]:
        context = await asyncio.to_thread(self._numbered, ids)
        reply = await acall_predictor(self.order, context=context, question=query)
        return _by_place(reply.ranking, len(ids))

    def _numbered(self, ids: Sequence[str]) -> list[str]:
        return [f"[{number}] {text}" for number, text in enumerate(self.texts(ids), start=1)]


class PointwiseReranker(Reranker):
    """One call per passage, which judges it from 0 to 1; at most 20 of them."""

    name = "pointwise"
    signal = LM
    needs_writer = True
    depth = WINDOW

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.judge = dspy.Predict(JudgePassage)

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        replies = [
            call_predictor(self.judge, context=[text], question=query) for text in self.texts(ids)
        ]
        return [_bounded(reply.relevance) for reply in replies]

    async def aforward(self, query: str, ids: Sequence[str]) -> list[float]:
        texts = await asyncio.to_thread(self.texts, ids)
        replies = await asyncio.gather(
            *(acall_predictor(self.judge, context=[text], question=query) for text in texts)
        )
        return [_bounded(reply.relevance) for reply in replies]


def _by_place(ranking: Sequence[int] | None, count: int) -> list[float]:
    """Turn numbers, best first, into scores; NaN for passages that are not named."""
    places = [n for n in dict.fromkeys(ranking or ()) if 1 <= n <= count]
    scores = {number: 1 - place / count for place, number in enumerate(places)}
    return [scores.get(number, float("nan")) for number in range(1, count + 1)]


def _bounded(relevance: float | None) -> float:
    return min(1.0, max(0.0, relevance or 0.0))
