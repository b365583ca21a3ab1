"""A reranker from outside the package: how many words a passage shares with the question."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ragwright.programs.rerank import Reranker
from ragwright.programs.signals import Number, Numbers, Signal
from ragwright.retrievers.embedding.base import Floats


def saturated(scores: Floats, numbers: Numbers) -> Floats:
    return np.asarray(scores / (scores + numbers["half"]), dtype=np.float32)


class Overlap(Reranker):
    """Its raw scores are counts; `half` says how many words score one half."""

    signal = Signal(
        "overlap",
        "shared words",
        saturated,
        numbers=(Number("half", 0.5, 8.0, 2.0, tried=(1.0, 2.0, 4.0)),),
    )

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        asked = set(re.findall(r"\w+", query.lower()))
        texts = self.texts(ids)
        return [float(len(asked & set(re.findall(r"\w+", text.lower())))) for text in texts]
