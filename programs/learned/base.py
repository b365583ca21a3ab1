"""The base of learned parts: their signal, and how they are learned, tried, stored and asked.

A part never changes once it is made, so that the many copies of a program share it. It holds no
index: it is told the folder of the one that it is asked on, which may have been ingested anew
since. Knows nothing of files: `dump` gives plain values and arrays, `restore` takes them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from ragwright.programs.candidates import Candidates
from ragwright.programs.knobs import POOL_DEPTH, KnobValues, LearnedState
from ragwright.programs.signals import Signal
from ragwright.retrievers.embedding.base import Floats
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import Index, open_index
from ragwright.retrievers.types import Where, content_hash

Array = NDArray[Any]
WeightChoice = Mapping[str, float]
"""One way to lay a part over knobs: its share of the weight, and numbers of its own."""

SHARE = "share"


class ChunkPlace(NamedTuple):
    """Where a chunk stands: it is found again there if documents are cut anew."""

    document: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question and the chunks that answer it, by their ids."""

    question: str
    chunks: Mapping[str, ChunkPlace]


@dataclass(frozen=True)
class StoredPart:
    """What is stored of a part: plain JSON types, and arrays of numbers by name."""

    facts: dict[str, Any]
    arrays: dict[str, Array]


class LearnedSource(LearnedState, Protocol):
    """What a stage asks beside its own sources: its signal is one of a source."""

    def hits(self, path: str, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n ids of an index with their raw scores, best first."""
        ...


class LearnedRanker(LearnedState, Protocol):
    """What a stage has its candidates scored by, once all its signals are there."""

    def ranks(self, query: str, candidates: Candidates) -> Floats | None:
        """Score the candidates of a query, shape (1, C); None where it cannot."""
        ...


class LearnedPart(ABC):
    """What was learned: a source, or a ranker.

    Attributes:
        signal: What its scores are called, how they are scaled, and what of it is tuned.
        choices: What a compile tries of it.
    """

    signal: ClassVar[Signal]
    choices: ClassVar[tuple[WeightChoice, ...]]

    @abstractmethod
    def dump(self) -> StoredPart:
        """Return everything that it knows."""

    @classmethod
    @abstractmethod
    def restored(cls, held: StoredPart) -> Self:
        """Take what `dump` gave.

        Raises:
            InputError: It is nothing that `dump` can have given.
        """

    @property
    @abstractmethod
    def described(self) -> str:
        """What it was learned from and how large it is, in a few words."""

    @classmethod
    def laid(cls, knobs: KnobValues, choice: WeightChoice) -> KnobValues:
        """Give the part its share of all weights, and its numbers, in these knobs."""
        share, whole = choice[SHARE], sum(knobs.weights.values())
        weights = {f"weight_{name}": round((1 - share) * weight / whole, 4)
                   for name, weight in knobs.weights.items()}  # fmt: skip
        return cls._with(knobs, {**weights, cls.signal.weight: share}, choice)

    @classmethod
    def _with(
        cls, knobs: KnobValues, weights: Mapping[str, float], choice: WeightChoice
    ) -> KnobValues:
        numbers = {cls.signal.knob(one): choice.get(one.name, one.default)
                   for one in cls.signal.numbers}  # fmt: skip
        depth = {cls.signal.depth: POOL_DEPTH} if cls.signal.source else {}
        return knobs.replaced(**weights, **numbers, **depth)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that it knows."""
        held = self.dump()
        parts = [array.tobytes().hex() for _, array in sorted(held.arrays.items())]
        return content_hash(type(self).__qualname__, repr(held.facts), *parts)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Nothing in it changes."""
        return self


class SourcePart(LearnedPart):
    """A source that was learned: it finds passages by itself."""

    @classmethod
    @abstractmethod
    def learned(cls, path: str, known: Sequence[LabelledQuestion], *, seed: int = 0) -> Self:
        """Learn from questions whose chunks are known, on the index in a folder."""

    @abstractmethod
    def hits(self, path: str, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n ids of an index with their raw scores, best first; blocks.

        Raises:
            InputError: The filter is wrong.
            IndexFault: The index fails, or is none that the part was learned for.
        """


def sources_in(parts: Iterable[LearnedState]) -> list[LearnedSource]:
    """Those of a stage's learned parts that find passages."""
    return [cast("LearnedSource", part) for part in parts if part.signal.source]


def rankers_in(parts: Iterable[LearnedState]) -> list[LearnedRanker]:
    """Those that score what was found."""
    return [cast("LearnedRanker", part) for part in parts if not part.signal.source]


def ids_passing(index: Index, ids: Iterable[str], where: Where | None) -> list[str]:
    """Return those ids that pass a filter, in their order."""
    named = list(ids)
    if where is None:
        return named
    allowed = index.passing(named, where)
    return [id for id in named if id in allowed]


def embed_question(path: str, query: str, dimension: int) -> tuple[Index, Array]:
    """Return an index and a question's vector by its embedder, shape (d,), at length 1.

    Raises:
        InputError: The index has vectors of another length than the part was learned for.
    """
    index = open_index(path)
    vector = index.vector_of(query)
    if len(vector) != dimension:
        raise InputError(
            f"What was learned is for vectors of {dimension} numbers, those of {path!r} have "
            f"{len(vector)}.",
            hint="Compile again on this index.",
        )
    return index, vector


def checked_array(held: StoredPart, name: str, shape: tuple[int | None, ...]) -> Array:
    """Return an array of finite floats of a shape, None being any length.

    Raises:
        InputError: It is missing, of another shape, or holds what is no number.
    """
    found = held.arrays.get(name)
    if found is None or found.dtype.kind != "f" or found.ndim != len(shape):
        raise InputError(f"The learned array {name!r} is not there, or is no table of floats.")
    if any(want not in (None, have) for want, have in zip(shape, found.shape, strict=True)):
        raise InputError(f"The learned array {name!r} has the shape {found.shape}, not {shape}.")
    # They are written in halves; more than those hold, or none, would make scores of nothing.
    if not (np.abs(found) <= np.finfo(np.float16).max).all():
        raise InputError(f"The learned array {name!r} holds what is no number.")
    return found
