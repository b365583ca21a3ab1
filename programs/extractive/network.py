"""Token ids in, a start and an end score for every token out: the transformer, run by OpenVINO.

The graph is built from the weights (`bert_graph.py`), so torch is not needed. Where OpenVINO is
missing, numpy computes the same more slowly. Knows no text.
"""

from __future__ import annotations

import importlib.util
import math
import threading
from collections.abc import Callable
from typing import Protocol

import numpy as np

from ragwright.programs.extractive.weights import Weights
from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.embedding.base import Integers
from ragwright.retrievers.embedding.bert_graph import BertGraph

_EPSILON = 1e-12


class Network(Protocol):
    """Scores tokens. Safe to call from several threads."""

    def scores(self, ids: Integers, mask: Integers, types: Integers) -> Floats:
        """Return start and end scores, shape (n, t, 2), of padded token ids of shape (n, t).

        Args:
            ids: Token ids.
            mask: 1 where there is a token, 0 where there is padding.
            types: 0 for the question's tokens, 1 for the passage's.
        """
        ...


def build_network(weights: Weights) -> Network:
    """Return the fastest network that is installed."""
    installed = importlib.util.find_spec("openvino") is not None
    return OpenVinoNetwork(weights) if installed else NumpyNetwork(weights)


class OpenVinoNetwork:
    """The network as a graph that OpenVINO compiles for this processor."""

    def __init__(self, weights: Weights) -> None:
        import openvino

        from ragwright.retrievers.embedding.openvino_engine import bfloat16_is_fast

        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16_is_fast() else "f32",
        }
        graph = BertGraph(weights.arrays, layers=weights.layers, heads=weights.heads)
        compiled = openvino.Core().compile_model(graph.reader(), "CPU", options)
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()

    def scores(self, ids: Integers, mask: Integers, types: Integers) -> Floats:
        with self._lock:
            self._request.infer([ids, mask, types])
            return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)


class NumpyNetwork:
    """The same network in plain numpy."""

    def __init__(self, weights: Weights) -> None:
        from scipy.special import erf

        self._weights = weights
        self._erf: Callable[[Floats], Floats] = erf

    def scores(self, ids: Integers, mask: Integers, types: Integers) -> Floats:
        arrays = self._weights.arrays
        hidden = arrays["embeddings.word_embeddings.weight"][ids]
        hidden = hidden + arrays["embeddings.token_type_embeddings.weight"][types]
        hidden = hidden + arrays["embeddings.position_embeddings.weight"][: ids.shape[1]]
        hidden = self._normalised("embeddings", hidden)
        bias = (-1e4 * (1 - mask)).astype(np.float32)[:, None, None, :]
        for layer in range(self._weights.layers):
            hidden = self._layer(f"encoder.layer.{layer}", hidden, bias)
        return self._linear("head", hidden)

    def _layer(self, name: str, hidden: Floats, bias: Floats) -> Floats:
        mixed = self._linear(
            f"{name}.attention.output.dense",
            self._attended(f"{name}.attention.self", hidden, bias),
        )
        hidden = self._normalised(f"{name}.attention.output", mixed + hidden)
        wide = self._linear(f"{name}.intermediate.dense", hidden)
        wide = wide * np.float32(0.5) * (1 + self._erf(wide / np.float32(math.sqrt(2))))
        narrow = self._linear(f"{name}.output.dense", wide)
        return self._normalised(f"{name}.output", narrow + hidden)

    def _attended(self, name: str, hidden: Floats, bias: Floats) -> Floats:
        n, t, d = hidden.shape

        def split(which: str) -> Floats:
            rows = self._linear(f"{name}.{which}", hidden)
            return rows.reshape(n, t, self._weights.heads, -1).transpose(0, 2, 1, 3)

        query, key, value = split("query"), split("key"), split("value")
        logits = query @ key.transpose(0, 1, 3, 2) / np.float32(math.sqrt(query.shape[-1])) + bias
        logits = np.exp(logits - logits.max(axis=-1, keepdims=True))
        shares = logits / logits.sum(axis=-1, keepdims=True)
        return np.asarray((shares @ value).transpose(0, 2, 1, 3).reshape(n, t, d))

    def _linear(self, name: str, rows: Floats) -> Floats:
        arrays = self._weights.arrays
        return np.asarray(rows @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"])

    def _normalised(self, name: str, rows: Floats) -> Floats:
        arrays = self._weights.arrays
        rows = rows - rows.mean(axis=-1, keepdims=True)
        rows = rows / np.sqrt((rows**2).mean(axis=-1, keepdims=True) + _EPSILON)
        scaled = rows * arrays[f"{name}.LayerNorm.weight"]
        return np.asarray(scaled + arrays[f"{name}.LayerNorm.bias"])
