"""A source from outside the package: passages that hold a place that the question names."""

from __future__ import annotations

import re
from collections import Counter

from ragwright.programs import Number, SearchSource, Signal
from ragwright.retrievers.types import Where
from tests.outside.overlap import saturated


class Named(SearchSource):
    """Its raw scores count how often the place stands there; `half` times score one half."""

    signal = Signal(
        "named",
        "places by name",
        saturated,
        source=True,
        numbers=(Number("half", 0.5, 8.0, 2.0, tried=(1.0, 2.0, 4.0)),),
    )

    def forward(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        asked = set(re.findall(r"[A-Z]\w+ton", query))
        found = {
            chunk.id: sum(Counter(re.findall(r"\w+", chunk.text))[name] for name in asked)
            for chunk in self.index.chunks()
        }
        best = sorted((id for id, count in found.items() if count), key=lambda id: -found[id])
        return {id: float(found[id]) for id in best[:n]}
