"""Known questions: those whose documents are known, as further vectors of these documents.

A question that is like a known one finds what answered that: no training, nothing in the index.
How like it must be before it counts is tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np

from ragwright.programs.learned.base import (
    SHARE,
    Array,
    ChunkPlace,
    LabelledQuestion,
    SourcePart,
    StoredPart,
    WeightChoice,
    checked_array,
    embed_question,
    ids_passing,
)
from ragwright.programs.signals import Number, Numbers, Signal
from ragwright.retrievers.embedding.base import Floats
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import Index, open_index
from ragwright.retrievers.types import Where

LEAST = 0.4
"""Questions less alike than this are never of use."""
_SHARES = (0.1, 0.2, 0.35, 0.5, 0.7)
_THRESHOLD = Number(
    "threshold", LEAST, 1.0, 0.7, (0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    help="how like a known question it must be, as a cosine, before that counts",
)  # fmt: skip


def cosines_above(scores: Floats, numbers: Numbers) -> Floats:
    """Cosines above the threshold, from there on; 0 below it."""
    least = numbers["threshold"]
    shares = (scores - least) / max(1e-6, 1 - least)
    return np.asarray(np.where(np.isnan(scores), np.nan, np.clip(shares, 0, 1)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class KnownQuestions(SourcePart):
    """Questions and what answers them.

    Attributes:
        questions: Their texts.
        vectors: Theirs by the index's embedder, shape (Q, d), in 16 bits.
        holds: The numbers of the chunks that answer each.
        chunks: Every such chunk: its id, and where it stands.
    """

    questions: tuple[str, ...]
    vectors: Array
    holds: tuple[tuple[int, ...], ...]
    chunks: tuple[tuple[str, ChunkPlace], ...]

    signal: ClassVar[Signal] = Signal(
        "questions", "known questions", cosines_above, source=True, numbers=(_THRESHOLD,)
    )
    choices: ClassVar[tuple[WeightChoice, ...]] = tuple(
        {SHARE: share, "threshold": least} for share, least in product(_SHARES, _THRESHOLD.choices)
    )

    @classmethod
    def learned(cls, path: str, known: Sequence[LabelledQuestion], *, seed: int = 0) -> Self:
        index = open_index(path)
        kept = [one for one in known if one.chunks]
        numbers: dict[str, int] = {}
        places: list[tuple[str, ChunkPlace]] = []
        for one in kept:
            for id, place in one.chunks.items():
                if id not in numbers:
                    numbers[id] = len(places)
                    places.append((id, place))
        vectors = np.array([index.vector_of(one.question) for one in kept], dtype=np.float16)
        holds = tuple(tuple(numbers[id] for id in one.chunks) for one in kept)
        texts = tuple(one.question for one in kept)
        return cls(texts, vectors.reshape(len(kept), -1), holds, tuple(places))

    def hits(self, path: str, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        if not self.questions:
            return {}
        index, vector = embed_question(path, query, self.vectors.shape[1])
        cosines = self.vectors.astype(np.float32) @ vector.astype(np.float32)
        near = np.flatnonzero(cosines >= LEAST)
        best: dict[int, float] = {}
        for row in near[np.argsort(-cosines[near], kind="stable")].tolist():
            for number in self.holds[row]:
                best.setdefault(number, float(cosines[row]))
        found: dict[str, float] = {}
        for number, score in best.items():
            for id in ids_passing(index, self._ids(index, number), where):
                found.setdefault(id, score)
            if len(found) >= n:
                break
        return dict(list(found.items())[:n])

    def _ids(self, index: Index, number: int) -> list[str]:
        """A chunk as the index has it; if it was cut anew, what stands in its place."""
        id, place = self.chunks[number]
        if index.tokens([id]):
            return [id]
        return [
            chunk.id
            for chunk in index.document(place.document)
            if chunk.start < place.end and place.start < chunk.end
        ]

    def dump(self) -> StoredPart:
        facts = {
            "questions": list(self.questions),
            "holds": [list(numbers) for numbers in self.holds],
            "chunks": [[id, *place] for id, place in self.chunks],
        }
        return StoredPart(facts, {"vectors": self.vectors})

    @classmethod
    def restored(cls, held: StoredPart) -> Self:
        questions, holds, chunks = (_listed(held, name) for name in
                                    ("questions", "holds", "chunks"))  # fmt: skip
        vectors = checked_array(held, "vectors", (len(questions), None))
        if not _strings(questions) or len(holds) != len(questions):
            raise InputError("Known questions lack their texts, or what answers them.")
        if not all(_numbers(row, len(chunks)) for row in holds):
            raise InputError("Known questions name chunks that are not there.")
        if not all(map(_placed, chunks)):
            raise InputError("Known questions name chunks without a place.")
        places = tuple((row[0], ChunkPlace(*row[1:])) for row in chunks)
        return cls(tuple(questions), vectors, tuple(map(tuple, holds)), places)

    @property
    def described(self) -> str:
        return f"{len(self.questions)} known questions, answered by {len(self.chunks)} passages"


def _listed(held: StoredPart, name: str) -> list[Any]:
    found = held.facts.get(name)
    if not isinstance(found, list):
        raise InputError(f"Known questions lack their {name}.")
    return found


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _numbers(row: Any, most: int) -> bool:
    return isinstance(row, list) and all(type(one) is int and 0 <= one < most for one in row)


def _placed(row: Any) -> bool:
    return (isinstance(row, list) and len(row) == 4 and _strings(row[:2])
            and all(type(one) is int for one in row[2:]))  # fmt: skip
