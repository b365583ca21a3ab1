"""Models that are more than a transformer with pooling, run by sentence-transformers itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ragwright.retrievers.embedding.base import (
    EmbedderIdentity,
    EncodedTexts,
    Floats,
    scale_to_unit_length,
)
from ragwright.retrievers.embedding.files import ModelFiles
from ragwright.retrievers.embedding.prompts import PromptSettings
from ragwright.retrievers.errors import ModelError
from ragwright.retrievers.extras import require

BATCH = 32


class SentenceTransformerEmbedder:
    """Any model that the sentence-transformers library loads, in float32.

    Raises:
        ModelError: The model cannot be loaded.
    """

    engine = "sentence-transformers float32"

    def __init__(self, files: ModelFiles) -> None:
        require("sentence_transformers")
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer

        self._files = files
        try:
            self._model: Any = SentenceTransformer(
                str(files.folder), device="cpu", model_kwargs={"use_safetensors": True}
            )
        except (
            OSError, ValueError, SafetensorError,
            TypeError, AttributeError, LookupError,  # of files that hold something else
        ) as error:  # fmt: skip
            raise ModelError(
                f"The embedding model {files.name!r} cannot be loaded: "
                f"{str(error).splitlines()[0]}",
                hint="It needs a sentence-transformers model with whole weights in safetensors.",
            ) from error
        # What stands before a text is a setting of the index: see `prompts.py`.
        self._model.default_prompt_name = None
        # The tokenizer keeps state between calls and is not safe to share between threads.
        self._lock = threading.Lock()
        (told,) = self._outputs(["word"])
        rows, dimension = told.get("token_embeddings"), self.identity.dimension
        # What only looks words up has none, and those before a dense layer are of another length.
        self.token_vectors = (
            rows is not None and "attention_mask" in told and rows.shape[-1] == dimension
        )

    @property
    def identity(self) -> EmbedderIdentity:
        dimension = int(self._model.get_embedding_dimension())
        return EmbedderIdentity(self._files.name, self._files.revision, dimension, True)

    @property
    def prompts(self) -> PromptSettings:
        """What its files say that is put before questions and documents."""
        return self._files.prompts

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        tokens = tokens and self.token_vectors
        if not texts:
            empty = np.zeros((0, self.identity.dimension), dtype=np.float32)
            return EncodedTexts(empty, () if tokens else None)
        outputs = self._outputs(texts)
        vectors = scale_to_unit_length(
            np.stack([_array(output["sentence_embedding"]) for output in outputs])
        )
        rows = tuple(_token_rows(output) for output in outputs) if tokens else None
        return EncodedTexts(vectors, rows)

    def _outputs(self, texts: Sequence[str]) -> Sequence[dict[str, Any]]:
        with self._lock:
            found: Sequence[dict[str, Any]] = self._model.encode(
                list(texts), batch_size=BATCH, output_value=None, show_progress_bar=False
            )
        return found


def _token_rows(output: dict[str, Any]) -> Floats:
    """Keep the real tokens: not padding, and not the special ones at both ends."""
    count = int(output["attention_mask"].sum())
    return scale_to_unit_length(_array(output["token_embeddings"])[:count][1:-1])


def _array(tensor: Any) -> Floats:
    return np.asarray(tensor.detach().float().cpu().numpy(), dtype=np.float32)
