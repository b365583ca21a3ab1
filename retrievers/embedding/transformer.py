"""Pools and normalises the vectors of an engine that runs the transformer.

Texts go through sorted by length in small batches: on a processor, padding costs more than small
batches do. Needs the tokenizers library and the engine's own, neither torch nor transformers.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ragwright.retrievers.embedding.base import (
    EmbedderIdentity,
    EncodedTexts,
    Floats,
    Integers,
    TransformerEngine,
    scale_to_unit_length,
)
from ragwright.retrievers.embedding.files import ModelFiles, load_tokenizer
from ragwright.retrievers.embedding.prompts import PromptSettings

BATCH = 16


@dataclass(frozen=True, slots=True)
class _Tokenized:
    """A text's token ids, and which of them are special: `(ids, special)`, both shape (t,)."""

    ids: list[int]
    special: list[int]


class TransformerEmbedder:
    """A plain sentence-transformers model: transformer, pooling, normalisation.

    Args:
        files: The model.
        engine: What runs it.
        dimension: Length d of its vectors.
    """

    token_vectors = True

    def __init__(self, files: ModelFiles, engine: TransformerEngine, dimension: int) -> None:
        self._files = files
        self._engine = engine
        self._dimension = dimension
        self._tokenizer = load_tokenizer(files.folder)
        self._tokenizer.enable_truncation(files.max_tokens)
        self._lock = threading.Lock()

    @property
    def identity(self) -> EmbedderIdentity:
        return EmbedderIdentity(self._files.name, self._files.revision, self._dimension, True)

    @property
    def prompts(self) -> PromptSettings:
        """What its files say that is put before questions and documents."""
        return self._files.prompts

    @property
    def engine(self) -> str:
        return self._engine.name

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        vectors = np.zeros((len(texts), self._dimension), dtype=np.float32)
        rows: list[Floats] = [vectors[:0]] * len(texts)
        read = self._tokenized(texts)
        order = sorted(range(len(texts)), key=lambda index: -len(read[index].ids))
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            ids, mask = _padded([read[index].ids for index in batch])
            with self._lock:
                hidden = self._engine.hidden(ids, mask)
                vectors[batch] = self._pooled(hidden, mask)
                if tokens:
                    for place, index in enumerate(batch):
                        rows[index] = _token_rows(hidden[place], read[index].special)
        return EncodedTexts(vectors, tuple(rows) if tokens else None)

    def _tokenized(self, texts: Sequence[str]) -> list[_Tokenized]:
        found = self._tokenizer.encode_batch(list(texts))
        return [_Tokenized(one.ids, one.special_tokens_mask) for one in found]

    def _pooled(self, hidden: Floats, mask: Integers) -> Floats:
        if self._files.pooling == "cls":
            return scale_to_unit_length(hidden[:, 0])
        # The mean's divisor makes no difference to the direction.
        return scale_to_unit_length(
            np.einsum("ntd,nt->nd", hidden, mask.astype(np.float32), optimize=True)
        )


def _padded(ids: Sequence[list[int]]) -> tuple[Integers, Integers]:
    """Return token ids and mask, both of shape (n, t), t being the longest."""
    shape = (len(ids), max(len(row) for row in ids))
    padded, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for place, row in enumerate(ids):
        padded[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return padded, mask


def _token_rows(hidden: Floats, special: list[int]) -> Floats:
    """Keep the real tokens of a text: not padding, and not the special ones."""
    kept = np.flatnonzero(np.asarray(special) == 0)
    return scale_to_unit_length(hidden[kept])
