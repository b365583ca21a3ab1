"""The nouns of embedding: Embedder, its identity, what it returns, and how it may run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ragwright.retrievers.settings import Settings

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

Backend = Literal["torch", "onnx", "openvino"]
Precision = Literal["float32", "bfloat16", "int8"]

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


class EngineSettings(Settings):
    """What runs an embedding model. No part of an index's identity: vectors are interchangeable.

    Attributes:
        backend: "auto" takes the fastest that is installed.
        precision: "auto" takes the fastest that the backend and this processor do well.
    """

    backend: Backend | Literal["auto"] = "auto"
    precision: Precision | Literal["auto"] = "auto"


@dataclass(frozen=True, slots=True)
class EmbedderIdentity:
    """What makes two embedders' vectors interchangeable; stamped on every index.

    Attributes:
        model: The official name of the model.
        revision: Its revision (a commit hash), or a hash of its settings.
        dimension: Length of a vector.
        normalised: Whether every vector has length 1.
    """

    model: str
    revision: str
    dimension: int
    normalised: bool

    def as_dict(self) -> dict[str, str | int | bool]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """Vectors of n texts.

    Attributes:
        vectors: Shape (n, d), float32.
        tokens: For each text an array of shape (t, d), float32, each row of length 1: its last
            hidden states without the special tokens. None unless asked for and to be had.
    """

    vectors: Floats
    tokens: Sequence[Floats] | None = None


class Embedder(Protocol):
    """Turns texts into vectors. Implementations are safe to call from several threads."""

    @property
    def identity(self) -> EmbedderIdentity: ...

    @property
    def engine(self) -> str:
        """What does the work, for people: "openvino int8", say."""
        ...

    @property
    def token_vectors(self) -> bool:
        """Whether `encode` can return token vectors; a model behind an API has none."""
        ...

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        """Embed texts, in order. With `tokens`, return token vectors too, if it has any."""
        ...


class WrappedEmbedder:
    """What stands around an embedder, and is as that in all but how it embeds."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def identity(self) -> EmbedderIdentity:
        return self._embedder.identity

    @property
    def engine(self) -> str:
        return self._embedder.engine

    @property
    def token_vectors(self) -> bool:
        return self._embedder.token_vectors


class TransformerEngine(Protocol):
    """Runs one transformer. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """Backend and precision, for people."""
        ...

    def hidden(self, ids: Integers, mask: Integers) -> Floats:
        """Return the last hidden states, shape (n, t, d), of padded token ids of shape (n, t).

        The array may be overwritten by the next call.
        """
        ...


def thread_limit() -> int | None:
    """Return how many threads this process is told to compute with; None leaves it open.

    `OMP_NUM_THREADS` says so, which Ray sets for its workers: there are others on the machine.
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else None


def scale_to_unit_length(rows: Floats) -> Floats:
    """Scale each row, shape (..., d), to length 1."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), dtype=np.float32)
