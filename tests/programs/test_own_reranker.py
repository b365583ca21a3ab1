"""What a reranker of somebody's own returns: one number for each chunk, or an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragwright.programs import HybridRetriever, Reranker, RerankRetriever, Signal
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.types import Document

Scores = Callable[[int], Any]


def stage(folder: Path, scores: Scores) -> RerankRetriever:
    class Own(Reranker):
        signal = Signal("own", "scores of one's own")

        def forward(self, query: str, ids: Sequence[str]) -> list[float]:
            made: list[float] = scores(len(ids))
            return made

    path = str(folder / "index")
    ingest([Document(f"d{n}", f"Pump {n}") for n in range(3)], path, IndexSettings(embedder="hash"))
    return RerankRetriever(HybridRetriever(path), Own(path))


WRONG: list[Scores] = [
    lambda _: [0.5], lambda _: None, lambda n: ["x"] * n, lambda n: [float("inf")] * n,
    lambda n: [1e300] * n, lambda n: [[1.0]] * n, lambda n: [0.5] * (n + 1), lambda _: 0.5,
    lambda n: {"d0": 1.0}, lambda n: [1.0, [2.0], 3.0],
]  # fmt: skip


@pytest.mark.parametrize("at", range(len(WRONG)))
def test_other_than_a_number_for_each_chunk_is_refused(tmp_path: Path, at: int) -> None:
    asked = stage(tmp_path, WRONG[at])
    for ask in (lambda: asked("pump"), lambda: asyncio.run(asked.acall("pump"))):
        with pytest.raises(InputError, match=r"The reranker 'own' returned .* for 3 chunks"):
            ask()
    close_index(tmp_path / "index")


@pytest.mark.parametrize(
    "scores", [lambda n: [0.5] * n, lambda n: np.linspace(0, 1, n), lambda n: [None] * n,
               lambda n: [float("nan")] * n, lambda n: (True,) * n],
)  # fmt: skip
def test_a_number_or_none_for_each_chunk_orders_them(tmp_path: Path, scores: Scores) -> None:
    found = stage(tmp_path, scores)("pump")
    assert {passage.document for passage in found} == {"d0", "d1", "d2"}
    assert np.isfinite([passage.score for passage in found]).all()
    close_index(tmp_path / "index")
