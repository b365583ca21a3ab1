"""Searches again where an ingest replaced what a search had found before it was read.

Chunks are replaced in batches, and what stands in their place is found by the next search. Knows
neither how anything is searched, nor what an ingest does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from ragwright.retrievers.index import already_open
from ragwright.retrievers.result import RetrievalResult


def search_steadily(
    path: str, wanted: int, search: Callable[[], RetrievalResult]
) -> RetrievalResult:
    """Search the index in a folder, and once more if it lacks what an ingest took away meanwhile.

    Args:
        path: The folder of the index.
        wanted: How many passages a whole result has.
        search: Searches, from the start.
    """
    before = _IndexState.of(path)
    found = search()
    return search() if before.lost(found, wanted) else found


async def asearch_steadily(
    path: str, wanted: int, search: Callable[[], Awaitable[RetrievalResult]]
) -> RetrievalResult:
    """Like `search_steadily`, without blocking the event loop."""
    before = _IndexState.of(path)
    found = await search()
    return await search() if before.lost(found, wanted) else found


@dataclass(frozen=True, slots=True)
class _IndexState:
    """Which state of an index a search began with; None where that is not known at once."""

    path: str
    opened: bool
    state: tuple[int, str] | None

    @classmethod
    def of(cls, path: str) -> Self:
        index = already_open(path)
        return cls(path, index is not None, index.state_at_once() if index is not None else None)

    def lost(self, found: RetrievalResult, wanted: int) -> bool:
        """Tell whether a search may have lost passages; one that found enough lost none."""
        if not self.opened or len(found.passages) >= wanted:
            return False
        return self.state is None or self.state != self.of(self.path).state
