"""Models that read a question and a text together: loaded once per process, by name.

Comes in: a model's name, a question, texts. Goes out: one score per text, in order. Knows no
index and no DSPy.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any

from ragwright.retrievers.embedding.base import Backend
from ragwright.retrievers.embedding.openvino_engine import WIDTH_STEP
from ragwright.retrievers.errors import ModelError
from ragwright.retrievers.extras import require

DEFAULT_CROSS_ENCODER = "cross-encoder/ms-marco-MiniLM-L6-v2"
BATCH = 16
"""Texts in one pass: on a CPU larger batches are slower, since more is padded."""

_LOCK = threading.Lock()
_LOADED: dict[tuple[str, str], Any] = {}


def pair_scores(model: str, backend: Backend, query: str, texts: Sequence[str]) -> list[float]:
    """Score texts with a sentence-transformers cross-encoder; the logits are unbounded.

    The library sorts by length before it batches, so that little is padded. Its models say for
    themselves whether a sigmoid follows; it is left out here, so that all speak in logits.

    Raises:
        ModelError: The model or the backend cannot be had.
    """
    if not texts:
        return []
    from torch.nn import Identity

    loaded = _pooled((model, backend), lambda: _cross_encoder(model, backend))
    pairs = [(query, text) for text in texts]
    with _LOCK:
        # The tokenizer keeps state between calls and is not safe to share between threads.
        scores = loaded.predict(
            pairs,
            batch_size=BATCH,
            show_progress_bar=False,
            activation_fn=Identity(),
            **(_few_widths(loaded) if backend == "openvino" else {}),
        )
    return [float(score) for score in scores]


def _few_widths(loaded: Any) -> dict[str, Any]:
    """Have texts padded to few widths, none of them beyond the model's: OpenVINO keeps them all.

    A model of MiniLM's size grew by 157 MB over 400 pairs of many lengths, and by 16 so padded, in
    the same processor time.
    """
    most = loaded.max_seq_length
    fits = most is not None and most % WIDTH_STEP == 0
    return {"processing_kwargs": {"text": {"pad_to_multiple_of": WIDTH_STEP}}} if fits else {}


def library_scores(model: str, query: str, texts: Sequence[str]) -> list[float]:
    """Score texts with a model of the `rerankers` library.

    Raises:
        ModelError: The library is not installed, or does not have the model.
    """
    if not texts:
        return []
    loaded = _pooled((model, "rerankers"), lambda: _library(model))
    with _LOCK:
        ranked = loaded.rank(query=query, docs=list(texts), doc_ids=list(range(len(texts))))
    scores = {int(result.doc_id): float(result.score) for result in ranked.results}
    return [scores[place] for place in range(len(texts))]


def _pooled(key: tuple[str, str], build: Callable[[], Any]) -> Any:
    with _LOCK:
        if key not in _LOADED:
            _LOADED[key] = build()
        return _LOADED[key]


def _cross_encoder(model: str, backend: Backend) -> Any:
    if backend != "torch" and importlib.util.find_spec("optimum") is None:
        raise ModelError(
            f"The cross-encoder backend {backend!r} is not installed.",
            hint=f"pip install 'sentence-transformers[{backend}]', or use backend = \"torch\".",
        )
    require("sentence_transformers")
    from safetensors import SafetensorError
    from sentence_transformers import CrossEncoder

    weights = {"use_safetensors": True} if backend == "torch" else {}
    try:
        return CrossEncoder(model, device="cpu", backend=backend, model_kwargs=weights)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"The cross-encoder {model!r} cannot be loaded: {_line(error)}",
            hint="Check the name and the network, or use the default reranker, which is offline.",
        ) from error


def _library(model: str) -> Any:
    try:
        from rerankers import Reranker
    except ImportError as error:
        raise ModelError(
            f"The reranker {model!r} needs the library `rerankers`, which is not installed.",
            hint="pip install 'ragwright[rerankers]', or use the default reranker.",
        ) from error
    try:
        # It prints whatever `verbose` says; standard output belongs to the command that runs.
        with redirect_stdout(sys.stderr):
            loaded = Reranker(model, verbose=0)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(
            f"`rerankers` cannot load {model!r}: {_line(error)}",
            hint="Check the name and the network, or use the default reranker, which is offline.",
        ) from error
    if loaded is None:
        raise ModelError(
            f"`rerankers` does not have {model!r}, or lacks what it needs.",
            hint=f"pip install 'rerankers[{model}]', or use the default reranker.",
        )
    return loaded


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
