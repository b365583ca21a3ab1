"""A program whose retrieval is replayed from a pool: the same answers, no search.

Optimizers answer every dev question dozens of times; retrieval differs in none of them. Comes in:
a program and a pool that holds its questions. Goes out: a program with the same parameters, knobs
and prompts. Knows nothing of optimizers.
"""

from __future__ import annotations

import dspy

from ragwright.optimize.prompts.state import prompts_of, set_prompts
from ragwright.optimize.retrieval.pool import Pool
from ragwright.programs.knobs import Knobs
from ragwright.programs.rag import RAG
from ragwright.programs.selection import select
from ragwright.programs.stage import passages_of
from ragwright.retrievers.types import RetrievalResult


class PooledRetriever(dspy.Module):
    """Selects from stored candidates what the live retriever would select from fresh ones.

    Args:
        path: The folder of the index, for the passages' texts.
        pool: Holds every question that will be asked.
        knobs: Shared with the program.
    """

    def __init__(self, path: str, pool: Pool, *, knobs: Knobs) -> None:
        super().__init__()
        self.path = path
        self.pool = pool
        self.knobs = knobs

    def forward(self, query: str, k: int | None = None, *, where: None = None) -> RetrievalResult:
        knobs = self.knobs.values if k is None else self.knobs.values.replaced(k=k)
        candidates = self.pool.take([query])
        return passages_of(self.path, candidates, select(candidates, knobs))


def pooled(program: RAG, path: str, pool: Pool) -> RAG:
    """Return a program that answers from the pool, with the knobs and prompts of `program`."""
    copy = program.over(PooledRetriever(path, pool, knobs=program.knobs))
    set_prompts(copy, prompts_of(program))
    return copy
