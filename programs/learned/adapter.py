"""The query adapter: a small linear change of a question's vector, learned on a frozen corpus.

q + (q A) B, of rank 32, with B = 0 at the start, so that nothing is changed before it is learned
(Hu et al., LoRA, ICLR 2022, for one vector). It is trained by the softmax over the passages, as
dense retrievers are (Karpukhin et al., EMNLP 2020), with nothing but the questions' side free. The
index stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from ragwright.programs.knobs import KnobValues
from ragwright.programs.learned.base import (
    SHARE,
    Array,
    LabelledQuestion,
    SourcePart,
    StoredPart,
    WeightChoice,
    checked_array,
    embed_question,
)
from ragwright.programs.signals import Signal
from ragwright.retrievers.index import Index, open_index
from ragwright.retrievers.types import Where

RANK = 32
STEPS, EPOCHS, BATCH, RATE, TEMPERATURE = 200, 16, 64, 0.003, 0.05
"""At least so many steps; with many questions, so many times over all of them."""
MOST_PASSAGES = 8192
"""Passages that the softmax goes over: those that answer, and others drawn at random."""
_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class QueryAdapter(SourcePart):
    """The two matrices.

    Attributes:
        down: A, shape (d, r).
        up: B, shape (r, d).
        count: How many questions it was learned from.
    """

    down: Array
    up: Array
    count: int

    signal: ClassVar[Signal] = Signal("adapter", "query adapter", source=True, lowest=True)
    choices: ClassVar[tuple[WeightChoice, ...]] = tuple(
        {SHARE: one} for one in (0.25, 0.5, 0.75, 1.0)
    )

    @classmethod
    def laid(cls, knobs: KnobValues, choice: WeightChoice) -> KnobValues:
        """Give it its share of what the plain cosine weighs."""
        share, weight = choice[SHARE], knobs.weight_dense
        weights = {"weight_dense": round((1 - share) * weight, 4),
                   cls.signal.weight: round(share * weight, 4)}  # fmt: skip
        return cls._with(knobs, weights, choice)

    @classmethod
    def learned(cls, path: str, known: Sequence[LabelledQuestion], *, seed: int = 0) -> Self:
        index, rng = open_index(path), np.random.default_rng(seed)
        ids, corpus = _corpus(index, known, rng)
        rows = {id: row for row, id in enumerate(ids)}
        answered = [(one.question, [rows[id] for id in one.chunks if id in rows]) for one in known]
        kept = [(text, found) for text, found in answered if found]
        questions = np.array([index.vector_of(text) for text, _ in kept], dtype=np.float32)
        wanted = [found for _, found in kept]
        down, up = _trained(questions.reshape(len(kept), -1), corpus, wanted, rng)
        return cls(down.astype(np.float16), up.astype(np.float16), len(kept))

    def adapted(self, vector: Array) -> Array:
        """Change a question's vector, shape (d,)."""
        down, up = self.down.astype(np.float32), self.up.astype(np.float32)
        plain = vector.astype(np.float32)
        return np.asarray(plain + (plain @ down) @ up, dtype=np.float32)

    def hits(self, path: str, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        index, vector = embed_question(path, query, len(self.down))
        return index.near(self.adapted(vector), n, where)

    def dump(self) -> StoredPart:
        return StoredPart({"count": self.count}, {"down": self.down, "up": self.up})

    @classmethod
    def restored(cls, held: StoredPart) -> Self:
        down = checked_array(held, "down", (None, None))
        up = checked_array(held, "up", (down.shape[1], down.shape[0]))
        count = held.facts.get("count")
        return cls(down, up, count if type(count) is int else 0)

    @property
    def described(self) -> str:
        size, rank = self.down.shape
        return f"rank {rank} over vectors of {size} numbers, learned from {self.count} questions"


def _corpus(
    index: Index, known: Sequence[LabelledQuestion], rng: np.random.Generator
) -> tuple[list[str], Array]:
    """The ids and vectors, shape (m, d) at length 1, of passages that answer and of others."""
    wanted = dict.fromkeys(id for one in known for id in one.chunks)
    others = [chunk.id for chunk in index.chunks() if chunk.id not in wanted]
    room = max(0, MOST_PASSAGES - len(wanted))
    drawn = [others[place] for place in sorted(rng.permutation(len(others))[:room].tolist())]
    found: dict[str, Array] = {}
    named = [*wanted, *drawn]
    for start in range(0, len(named), _AT_ONCE):
        found |= index.vectors(named[start : start + _AT_ONCE])
    ids = [id for id in named if id in found]
    corpus = np.array([found[id] for id in ids], dtype=np.float32)
    lengths = np.linalg.norm(corpus, axis=-1, keepdims=True)
    return ids, corpus / np.where(lengths > 0, lengths, 1)


def _trained(
    questions: Array, corpus: Array, wanted: Sequence[Sequence[int]], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Minimise the cross-entropy between what answers and the softmax over the corpus."""
    size = questions.shape[1]
    held = {
        "down": rng.normal(0, 1 / np.sqrt(size), (size, RANK)).astype(np.float32),
        "up": np.zeros((RANK, size), dtype=np.float32),
    }
    walk = _Adam(held)
    for rows in _batches(len(questions), rng):
        walk.step(_gradients(held, questions[rows], corpus, [wanted[row] for row in rows]))
    return held["down"], held["up"]


def _batches(count: int, rng: np.random.Generator) -> Iterator[list[int]]:
    epochs = max(EPOCHS, STEPS // max(1, -(-count // BATCH)))
    for _ in range(epochs if count else 0):
        order = rng.permutation(count).tolist()
        yield from (order[start : start + BATCH] for start in range(0, count, BATCH))


def _gradients(
    held: Mapping[str, Array], questions: Array, corpus: Array, wanted: Sequence[Sequence[int]]
) -> dict[str, Array]:
    """The gradients of the mean cross-entropy of some questions, by hand."""
    low = questions @ held["down"]
    raw = questions + low @ held["up"]
    lengths = np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-6)
    unit = raw / lengths
    scores = unit @ corpus.T / TEMPERATURE
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    slope = scores / scores.sum(axis=1, keepdims=True)
    for row, places in enumerate(wanted):
        slope[row, places] -= 1 / len(places)
    back = slope @ corpus / (TEMPERATURE * len(questions))
    back = (back - (back * unit).sum(axis=1, keepdims=True) * unit) / lengths
    return {"up": low.T @ back, "down": questions.T @ (back @ held["up"].T)}


class _Adam:
    """Adam (Kingma and Ba, ICLR 2015) over some arrays, which it changes in place."""

    def __init__(self, held: dict[str, Array]) -> None:
        self._held = held
        self._means = {name: np.zeros_like(array) for name, array in held.items()}
        self._squares = {name: np.zeros_like(array) for name, array in held.items()}
        self._steps = 0

    def step(self, gradients: Mapping[str, Array]) -> None:
        self._steps += 1
        for name, slope in gradients.items():
            mean, square = self._means[name], self._squares[name]
            mean += 0.1 * (slope - mean)
            square += 0.001 * (slope**2 - square)
            first = mean / (1 - 0.9**self._steps)
            second = square / (1 - 0.999**self._steps)
            self._held[name] -= RATE * first / (np.sqrt(second) + 1e-8)
