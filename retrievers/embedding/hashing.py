"""An embedder without a model: similarity is word overlap."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ragwright.retrievers.embedding.base import (
    EmbedderIdentity,
    EncodedTexts,
    Floats,
    scale_to_unit_length,
)
from ragwright.retrievers.remembering import remember_words

_MOST_WORDS = 1 << 13
"""An ingest meets the words of a whole collection."""


class HashEmbedder:
    """A deterministic embedder that needs no model: every word hashes to a fixed direction.

    A text's vector is the normalised sum of its words' directions, its token vectors are those
    directions, so that similarity is word overlap and can be worked out by hand. For tests and
    for trying things out; it knows no synonyms.
    """

    engine = "hash"
    token_vectors = True

    def __init__(self, dimension: int = 64) -> None:
        self._dimension = dimension
        self._word = remember_words(self._direction, most=_MOST_WORDS)

    @property
    def identity(self) -> EmbedderIdentity:
        return EmbedderIdentity("hash", f"v1-{self._dimension}", self._dimension, True)

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        rows = tuple(self._rows(text) for text in texts)
        empty = np.zeros((0, self._dimension), dtype=np.float32)
        vectors = (
            np.stack([scale_to_unit_length(row.sum(axis=0)) for row in rows]) if rows else empty
        )
        return EncodedTexts(vectors, rows if tokens else None)

    def _rows(self, text: str) -> Floats:
        words = text.lower().split() or [""]
        return np.stack([self._word(word.strip(".,;:!?()'\"")) for word in words])

    def _direction(self, word: str) -> Floats:
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        drawn = np.random.default_rng(seed).standard_normal(self._dimension)
        return scale_to_unit_length(drawn.astype(np.float32))
