"""What `peers.py` hands to a peer and gets back: the same for all, so that only searching differs.

A folder holds `corpus.json` (ids and texts of the chunks, questions) and `vectors.npz` (float32, a
row for each chunk and for each question). A peer builds its search, is timed question by question,
and writes `NAME.json`. Needs numpy and nothing of ragwright, since peers have an environment of
their own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DEPTH = 100
"""Candidates of each source, before they are fused."""
KEPT = 50
"""Chunks of the fused ranking that are asked for."""
WARM = 20

Search = Callable[[str], list[str]]
"""From a question to the ids of chunks, best first."""


@dataclass(frozen=True)
class Exchange:
    """The same chunks, questions and vectors for everybody; vectors have length 1."""

    folder: Path
    ids: list[str]
    texts: list[str]
    vectors: np.ndarray[Any, Any]
    questions: list[str]
    asked: np.ndarray[Any, Any]

    @classmethod
    def read(cls, folder: Path) -> Exchange:
        rows = json.loads((folder / "corpus.json").read_text("utf-8"))
        with np.load(folder / "vectors.npz") as arrays:
            return cls(
                folder, rows["ids"], rows["texts"], arrays["chunks"], rows["questions"],
                arrays["questions"],
            )  # fmt: skip

    def write(self) -> None:
        rows = {"ids": self.ids, "texts": self.texts, "questions": self.questions}
        (self.folder / "corpus.json").write_text(json.dumps(rows), "utf-8")
        np.savez(self.folder / "vectors.npz", chunks=self.vectors, questions=self.asked)

    def vector_of(self) -> dict[str, list[float]]:
        """Every text's vector: what a peer's embedder looks up instead of computing."""
        texts = [*self.texts, *self.questions]
        rows = [*self.vectors, *self.asked]
        return {text: row.tolist() for text, row in zip(texts, rows, strict=True)}


def run(name: str, exchange: Exchange, build: Callable[[Exchange], Search]) -> None:
    """Build a search, ask it every question, and write rankings and seconds of this process."""
    began = time.process_time()
    search = build(exchange)
    built = time.process_time() - began
    for question in exchange.questions[:WARM]:
        search(question)
    rankings, processor, wall = [], [], []
    for question in exchange.questions:
        clock, busy = time.perf_counter(), time.process_time()
        rankings.append(search(question))
        processor.append(time.process_time() - busy)
        wall.append(time.perf_counter() - clock)
    found = {"build": built, "rankings": rankings, "processor": processor, "wall": wall}
    (exchange.folder / f"{name}.json").write_text(json.dumps(found), "utf-8")
