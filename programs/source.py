"""A source of one's own: what `HybridRetriever` asks beside dense and BM25 retrieval.

Its hits are candidates like all others: its signal has a weight, a depth and numbers of its own
that a compile tunes by replay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import dspy
import numpy as np

from ragwright.programs.knobs import LEARNED
from ragwright.programs.signals import SOURCES, Signal, signals_by_name
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import Index, open_index
from ragwright.retrievers.types import Where

_LARGEST = float(np.finfo(np.float32).max)
_HINT = "docs/recipe.md, `Parts of your own`, has an example."


class SearchSource(dspy.Module):
    """Finds chunks of an index for a query; higher scores are better.

    Args:
        path: The folder of the index that holds the chunks.

    Attributes:
        signal: What its scores are called, how they are scaled, and what else of it can be tuned;
            declared with `source=True`.
    """

    signal: ClassVar[Signal]

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = str(path)

    @property
    def index(self) -> Index:
        """The live index, opened at first use; `fingerprint` changes with its contents."""
        return open_index(self.path)

    def forward(self, query: str, n: int, where: Where | None = None) -> Mapping[str, float]:
        """Return up to n ids of chunks with their raw scores.

        A filter may be left unheeded: what does not pass it is taken out afterwards.
        """
        raise NotImplementedError

    async def aforward(self, query: str, n: int, where: Where | None = None) -> Mapping[str, float]:
        # Of the class: see `Reranker.aforward`.
        return await asyncio.to_thread(type(self).forward, self, query, n, where)

    def passed(self, found: object, n: int, where: Where | None) -> dict[str, float]:
        """Return the n best of what it found that pass a filter, best first.

        Raises:
            InputError: It gave no table of ids and finite numbers.
        """
        hits = _checked(self, found)
        if where is not None:
            allowed = self.index.passing(list(hits), where)
            hits = {id: score for id, score in hits.items() if id in allowed}
        return dict(sorted(hits.items(), key=lambda item: -item[1])[:n])


def _checked(source: SearchSource, found: object) -> dict[str, float]:
    name = type(source).__name__
    if not isinstance(found, Mapping):
        raise InputError(
            f"The source {name!r} returned {type(found).__name__}, not scores by id.", hint=_HINT
        )
    for id, score in found.items():
        real = isinstance(score, int | float | np.number) and not isinstance(score, bool)
        if not isinstance(id, str) or not real or not abs(float(score)) <= _LARGEST:
            raise InputError(
                f"The source {name!r} returned the score {score!r} for {id!r}.",
                hint="A score is a finite number, and an id the text that the index knows.",
            )
    return {id: float(score) for id, score in found.items()}


def build_search_sources(
    path: str, sources: Iterable[SearchSource | type[SearchSource]]
) -> tuple[SearchSource, ...]:
    """Return sources over one index; a class is built over it.

    Raises:
        InputError: One is no source, is over another index, or has the name of another.
    """
    if isinstance(sources, str | bytes | Mapping) or not isinstance(sources, Iterable):
        raise InputError(f"`sources` is {type(sources).__name__}, not a list of `SearchSource`s.")
    made = tuple(_built(path, one) for one in sources)
    _check_names(made)
    return made


def _built(path: str, source: object) -> SearchSource:
    if isinstance(source, type) and issubclass(source, SearchSource):
        source = source(path)
    if not isinstance(source, SearchSource):
        raise InputError(
            f"{source!r} is no source.", hint=f"Give `SearchSource`s, or their classes; {_HINT}"
        )
    signal = getattr(source, "signal", None)
    if not isinstance(signal, Signal) or not signal.source:
        raise InputError(
            f"The source {type(source).__name__!r} declares no signal of a source.",
            hint='Write `signal = Signal("name", source=True)` in its class.',
        )
    if Path(source.path).resolve() != Path(path).resolve():
        raise InputError(
            f"The source {type(source).__name__!r} is over {source.path!r}, not {path!r}.",
            hint="All sources of one stage find chunks of one index.",
        )
    return source


def _check_names(sources: Sequence[SearchSource]) -> None:
    names = [source.signal.name for source in sources]
    signals_by_name([*SOURCES, *(source.signal for source in sources)])
    taken = [name for name in names if names.count(name) > 1 or name in LEARNED]
    if taken:
        raise InputError(
            f"The name {taken[0]!r} of a source's signal is taken.",
            hint="Give it another: its weight is a knob of that name.",
        )
