"""An embedder of the user's own: what it gives is what an index takes, or an error names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ragwright.retrievers.embedding.base import (
    Embedder,
    EmbedderIdentity,
    EncodedTexts,
    Floats,
    WrappedEmbedder,
)
from ragwright.retrievers.embedding.prompts import UNPROMPTED, PromptSettings
from ragwright.retrievers.errors import InputError, ModelError


class CheckedEmbedder(WrappedEmbedder):
    """An embedder from outside.

    Args:
        embedder: What computes.
        name: What errors call it.

    Raises:
        InputError: It does not say what it is.
    """

    def __init__(self, embedder: Embedder, name: str) -> None:
        super().__init__(embedder)
        self._name = name
        if not isinstance(embedder.identity, EmbedderIdentity):
            raise InputError(
                f"The identity of the embedder {name!r} is {type(embedder.identity).__name__}.",
                hint="Give EmbedderIdentity(model, revision, dimension, normalised).",
            )

    @property
    def prompts(self) -> PromptSettings:
        """What it says that is put before questions and documents."""
        found = getattr(self._embedder, "prompts", UNPROMPTED)
        return found if isinstance(found, PromptSettings) else UNPROMPTED

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        """Embed texts, in order.

        Raises:
            ModelError: It gives other vectors than it was asked for.
        """
        found = self._embedder.encode(texts, tokens=tokens)
        vectors = self._floats(found.vectors, len(texts))
        if found.tokens is None:
            return EncodedTexts(vectors)
        rows = [self._floats(one, len(one)) for one in found.tokens]
        if len(rows) != len(texts):
            raise self._fault(f"gave token vectors of {len(rows)} texts for {len(texts)}")
        return EncodedTexts(vectors, rows)

    def _floats(self, given: Any, count: int) -> Floats:
        wanted = (count, self.identity.dimension)
        try:
            found = np.asarray(given, dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise self._fault(f"gave vectors that are no numbers: {error}") from error
        found = found if found.size else found.reshape(-1, wanted[1])
        if found.shape != wanted:
            raise self._fault(f"gave vectors of shape {found.shape}, not {wanted}")
        if not np.isfinite(found).all():
            raise self._fault("gave a vector that is not finite")
        return found

    def _fault(self, what: str) -> ModelError:
        return ModelError(
            f"The embedder {self._name!r} {what}.",
            hint="See the protocol ragwright.retrievers.embedding.Embedder.",
        )
