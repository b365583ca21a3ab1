"""Writes BERT's weights as the bytes of an ONNX file; torch is not needed.

The transformer of MiniLM and its kin (Devlin et al., 2019): learned positions, GELU, one matrix
after another. ONNX Runtime and OpenVINO read the same file. Knows no file on disk and no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ragwright.retrievers.embedding.base import Floats
from ragwright.retrievers.embedding.onnx_file import OnnxGraph


class BertGraph:
    """Writes BERT in ONNX's operations; once.

    Args:
        arrays: The weights, float32, by the names of the model's file (`encoder.layer.0. ...`).
        layers: How many transformer layers there are.
        heads: Attention heads of each.
        epsilon: What keeps a normalisation from dividing by 0.
    """

    def __init__(
        self, arrays: Mapping[str, Floats], *, layers: int, heads: int, epsilon: float = 1e-12
    ) -> None:
        self._graph = OnnxGraph("bert")
        self._op = self._graph.op
        self._arrays = arrays
        self._layers = layers
        self._heads = heads
        self._epsilon = epsilon
        self._zero = self._whole([0])

    def reader(self) -> bytes:
        """Return the graph of (ids, mask, types), each (n, t), to what `head` makes: (n, t, 2)."""
        ids, mask, types = (self._graph.input(name) for name in ("ids", "mask", "types"))
        return self._graph.file(self._linear("head", self._hidden(ids, mask, types)))

    def embedder(self) -> bytes:
        """Return the graph of (ids, mask), each (n, t), to the last hidden states: (n, t, d)."""
        ids, mask = (self._graph.input(name) for name in ("input_ids", "attention_mask"))
        return self._graph.file(self._hidden(ids, mask, self._op("Mul", ids, self._zero)))

    def _hidden(self, ids: str, mask: str, types: str) -> str:
        hidden, bias = self._embedded(ids, types), self._bias(mask)
        for layer in range(self._layers):
            hidden = self._layer(f"encoder.layer.{layer}", hidden, bias)
        return hidden

    def _whole(self, values: list[int]) -> str:
        return self._graph.constant(np.array(values, dtype=np.int64))

    def _scalar(self, value: float) -> str:
        return self._graph.constant(np.array(value, dtype=np.float32))

    def _weight(self, name: str) -> str:
        return self._graph.constant(self._arrays[name])

    def _embedded(self, ids: str, types: str) -> str:
        words, kinds = (
            self._op("Gather", self._weight(f"embeddings.{name}_embeddings.weight"), at)
            for name, at in (("word", ids), ("token_type", types))
        )
        positions = self._weight("embeddings.position_embeddings.weight")
        length = self._op("Shape", ids, start=1, end=2)
        places = self._op("Slice", positions, self._zero, length, self._zero)
        summed = self._op("Add", self._op("Add", words, kinds), places)
        return self._normalised("embeddings", summed)

    def _bias(self, mask: str) -> str:
        """Return what is added to attention: 0 for tokens, -10,000 for padding: (n, 1, 1, t)."""
        absent = self._op("Sub", self._scalar(1.0), self._op("Cast", mask, to=1))
        wide = self._op("Unsqueeze", absent, self._whole([1, 2]))
        return self._op("Mul", wide, self._scalar(-1e4))

    def _layer(self, name: str, hidden: str, bias: str) -> str:
        attended = self._attended(f"{name}.attention.self", hidden, bias)
        mixed = self._linear(f"{name}.attention.output.dense", attended)
        hidden = self._normalised(f"{name}.attention.output", self._op("Add", mixed, hidden))
        wide = self._op("Gelu", self._linear(f"{name}.intermediate.dense", hidden))
        narrow = self._linear(f"{name}.output.dense", wide)
        return self._normalised(f"{name}.output", self._op("Add", narrow, hidden))

    def _attended(self, name: str, hidden: str, bias: str) -> str:
        shape = self._whole([0, 0, self._heads, -1])

        def split(which: str, order: list[int]) -> str:
            rows = self._op("Reshape", self._linear(f"{name}.{which}", hidden), shape)
            return self._op("Transpose", rows, perm=order)

        query, value = (split(which, [0, 2, 1, 3]) for which in ("query", "value"))
        products = self._op("MatMul", query, split("key", [0, 2, 3, 1]))
        size = self._arrays[f"{name}.query.weight"].shape[0] / self._heads
        logits = self._op("Add", self._op("Div", products, self._scalar(size**0.5)), bias)
        found = self._op("MatMul", self._op("Softmax", logits, axis=-1), value)
        back = self._op("Transpose", found, perm=[0, 2, 1, 3])
        return self._op("Reshape", back, self._whole([0, 0, -1]))

    def _linear(self, name: str, rows: str) -> str:
        """Return rows multiplied by a weight, plus its bias."""
        weight = self._graph.constant(self._arrays[f"{name}.weight"].T)
        return self._op("Add", self._op("MatMul", rows, weight), self._weight(f"{name}.bias"))

    def _normalised(self, name: str, rows: str) -> str:
        scale, bias = (self._weight(f"{name}.LayerNorm.{which}") for which in ("weight", "bias"))
        attributes: dict[str, Any] = {"axis": -1, "epsilon": self._epsilon}
        return self._op("LayerNormalization", rows, scale, bias, **attributes)
