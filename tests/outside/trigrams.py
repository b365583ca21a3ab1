"""An embedder from outside the package: the triples of letters in a text, hashed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from ragwright.retrievers.embedding import EmbedderIdentity, EncodedTexts

SIZE = 128


class Trigrams:
    engine = "trigrams"
    token_vectors = False
    identity = EmbedderIdentity("trigrams", "1", SIZE, True)

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        vectors = np.zeros((len(texts), SIZE), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for start in range(max(1, len(text) - 2)):
                row[zlib.crc32(text[start : start + 3].lower().encode()) % SIZE] += 1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return EncodedTexts(vectors / np.maximum(norms, 1.0))
