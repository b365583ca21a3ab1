"""What every retrieval stage returns; apart from `types.py`, so that these load without DSPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dspy

from ragwright.retrievers import html
from ragwright.retrievers.types import PASSAGE_HEAD, Metadata, Passage, passage_row


class RetrievalResult(dspy.Prediction):
    """What every retrieval stage returns, leaf or composed.

    A `dspy.Prediction` with the parallel lists `passages`, `ids`, `scores` and `metadata`, best
    first. It iterates over its passages, which is what `dspy.Retrieve` expects of
    `dspy.settings.rm`, and is true if it has any.
    """

    passages: list[Passage]
    ids: list[str]
    scores: list[float]
    metadata: list[Metadata]

    @classmethod
    def of(cls, passages: Sequence[Passage], **extra: Any) -> RetrievalResult:
        """Build a result from passages in order; `extra` become further fields."""
        return cls(
            passages=list(passages),
            ids=[passage.id for passage in passages],
            scores=[passage.score for passage in passages],
            metadata=[dict(passage.metadata) for passage in passages],
            **extra,
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: a row for every passage, best first."""
        return html.html_table(PASSAGE_HEAD, map(passage_row, self.passages))

    def __iter__(self) -> Iterator[Passage]:
        return iter(self.passages)

    def __len__(self) -> int:
        return len(self.passages)
