"""The reader's transformer: scores every token as start and as end of an answer.

The graph is built from the weights (`bert_graph.py`), so torch is not needed. OpenVINO runs it
where that is installed, ONNX Runtime otherwise. Knows no text.
"""

from __future__ import annotations

import importlib.util
import threading
from typing import Protocol

import numpy as np

from ragwright.programs.extractive.weights import Weights
from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.embedding.base import Integers
from ragwright.retrievers.embedding.bert_graph import BertGraph
from ragwright.retrievers.embedding.openvino_engine import openvino_has_bfloat16, widened


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
    if importlib.util.find_spec("openvino") is None:
        return OnnxNetwork(weights)
    return OpenVinoNetwork(weights, bfloat16=openvino_has_bfloat16())


class OpenVinoNetwork:
    """The network as a graph that OpenVINO compiles for this processor.

    Args:
        weights: Of the model.
        bfloat16: Whether to multiply in bfloat16, which rounds otherwise than float32.
    """

    def __init__(self, weights: Weights, *, bfloat16: bool) -> None:
        import openvino

        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        }
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(_graph(weights)), "CPU", options)
        self._request = compiled.create_infer_request()
        self._most = len(weights.arrays["embeddings.position_embeddings.weight"])
        self._lock = threading.Lock()

    def scores(self, ids: Integers, mask: Integers, types: Integers) -> Floats:
        given = [widened(array, self._most) for array in (ids, mask, types)]
        with self._lock:
            self._request.infer(given)
            found = self._request.get_output_tensor(0).data[:, : ids.shape[1]]
            return np.array(found, dtype=np.float32)


class OnnxNetwork:
    """The same graph, run by ONNX Runtime."""

    def __init__(self, weights: Weights) -> None:
        from ragwright.retrievers.embedding.onnx_engine import open_onnx_session

        self._session = open_onnx_session(_graph(weights))

    def scores(self, ids: Integers, mask: Integers, types: Integers) -> Floats:
        found: Floats = self._session.run(None, {"ids": ids, "mask": mask, "types": types})[0]
        return found


def _graph(weights: Weights) -> bytes:
    return BertGraph(weights.arrays, layers=weights.layers, heads=weights.heads).reader()
