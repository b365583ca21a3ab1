"""Embeds texts: one vector each, and on request one per token, from the same forward pass.

An `Embedder` is named by a string, loaded once per process by `load_embedder`, and identified by
an `EmbedderIdentity` that an index remembers. Which engine runs the model (torch, ONNX Runtime,
OpenVINO) and in which precision is no part of that identity: their vectors are interchangeable,
which `benchmarks/embedding.py` measures. Knows nothing of chunks, stores or scores.
"""

from ragwright.retrievers.embedding.base import (
    MINILM,
    Embedder,
    EmbedderIdentity,
    EncodedTexts,
    EngineSettings,
    Floats,
)
from ragwright.retrievers.embedding.hashing import HashEmbedder
from ragwright.retrievers.embedding.hosted import is_hosted
from ragwright.retrievers.embedding.loading import is_loaded, load_embedder, model_prompts
from ragwright.retrievers.embedding.prompts import (
    NO_PROMPT,
    UNPROMPTED,
    Prompt,
    PromptSettings,
    Role,
)

__all__ = [
    "MINILM",
    "NO_PROMPT",
    "UNPROMPTED",
    "Embedder",
    "EmbedderIdentity",
    "EncodedTexts",
    "EngineSettings",
    "Floats",
    "HashEmbedder",
    "Prompt",
    "PromptSettings",
    "Role",
    "is_hosted",
    "is_loaded",
    "load_embedder",
    "model_prompts",
]
