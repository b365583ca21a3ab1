"""BERT's weights in, a graph of OpenVINO's operations out; torch is not needed.

The transformer of MiniLM and its kin (Devlin et al., 2019): learned positions, GELU, one matrix
after another. Knows no file and no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ragwright.retrievers.embedding.base import Floats


class BertGraph:
    """Writes BERT in OpenVINO's operations.

    Args:
        arrays: The weights, float32, by the names of the model's file (`encoder.layer.0. ...`).
        layers: How many transformer layers there are.
        heads: Attention heads of each.
        epsilon: What keeps a normalisation from dividing by 0.
    """

    def __init__(
        self, arrays: Mapping[str, Floats], *, layers: int, heads: int, epsilon: float = 1e-12
    ) -> None:
        from openvino import opset13

        self.ops: Any = opset13
        self._arrays = arrays
        self._layers = layers
        self._heads = heads
        self._epsilon = epsilon

    def reader(self) -> Any:
        """Return the graph of (ids, mask, types), each (n, t), to what `head` makes: (n, t, 2)."""
        import openvino

        ids, mask, types = (self._input(name) for name in ("ids", "mask", "types"))
        scores = self.linear("head", self._hidden(ids, mask, types))
        return openvino.Model([self.ops.result(scores)], [ids, mask, types], "reader")

    def embedder(self) -> Any:
        """Return the graph of (ids, mask), each (n, t), to the last hidden states: (n, t, d)."""
        import openvino

        ids, mask = (self._input(name) for name in ("input_ids", "attention_mask"))
        types = self.ops.multiply(ids, self._constant(0, np.int64))
        hidden = self._hidden(ids, mask, types)
        return openvino.Model([self.ops.result(hidden)], [ids, mask], "embedder")

    def _hidden(self, ids: Any, mask: Any, types: Any) -> Any:
        hidden, bias = self._embedded(ids, types), self._bias(mask)
        for layer in range(self._layers):
            hidden = self._layer(f"encoder.layer.{layer}", hidden, bias)
        return hidden

    def _input(self, name: str) -> Any:
        return self.ops.parameter([-1, -1], np.int64, name=name)

    def _constant(self, values: Any, dtype: Any = np.float32) -> Any:
        return self.ops.constant(np.asarray(values, dtype=dtype))

    def _weight(self, name: str) -> Any:
        return self.ops.constant(self._arrays[name])

    def _embedded(self, ids: Any, types: Any) -> Any:
        ops, zero = self.ops, self._constant(0, np.int64)
        length = ops.gather(ops.shape_of(ids), self._constant(1, np.int64), zero)
        places = ops.range(zero, length, self._constant(1, np.int64), "i64")
        found = [
            ops.gather(self._weight(f"embeddings.{name}_embeddings.weight"), at, zero)
            for name, at in (("word", ids), ("token_type", types), ("position", places))
        ]
        summed = ops.add(ops.add(found[0], found[1]), found[2])
        return self._normalised("embeddings", summed)

    def _bias(self, mask: Any) -> Any:
        """Return what is added to attention: 0 for tokens, -10,000 for padding: (n, 1, 1, t)."""
        ops = self.ops
        absent = ops.subtract(self._constant(1.0), ops.convert(mask, "f32"))
        wide = ops.unsqueeze(absent, self._constant([1, 2], np.int64))
        return ops.multiply(wide, self._constant(-1e4))

    def _layer(self, name: str, hidden: Any, bias: Any) -> Any:
        ops = self.ops
        attended = self._attended(f"{name}.attention.self", hidden, bias)
        mixed = self.linear(f"{name}.attention.output.dense", attended)
        hidden = self._normalised(f"{name}.attention.output", ops.add(mixed, hidden))
        wide = ops.gelu(self.linear(f"{name}.intermediate.dense", hidden), "erf")
        narrow = self.linear(f"{name}.output.dense", wide)
        return self._normalised(f"{name}.output", ops.add(narrow, hidden))

    def _attended(self, name: str, hidden: Any, bias: Any) -> Any:
        ops = self.ops
        order = self._constant([0, 2, 1, 3], np.int64)

        def split(which: str) -> Any:
            rows = self.linear(f"{name}.{which}", hidden)
            shape = self._constant([0, 0, self._heads, -1], np.int64)
            return ops.transpose(ops.reshape(rows, shape, True), order)

        found = ops.scaled_dot_product_attention(split("query"), split("key"), split("value"), bias)
        back = ops.transpose(found, order)
        return ops.reshape(back, self._constant([0, 0, -1], np.int64), True)

    def linear(self, name: str, rows: Any) -> Any:
        """Return rows multiplied by a weight, plus its bias."""
        product = self.ops.matmul(rows, self._weight(f"{name}.weight"), False, True)
        return self.ops.add(product, self._weight(f"{name}.bias"))

    def _normalised(self, name: str, rows: Any) -> Any:
        axes = self._constant([-1], np.int64)
        even = self.ops.mvn(rows, axes, True, self._epsilon, "inside_sqrt")
        scaled = self.ops.multiply(even, self._weight(f"{name}.LayerNorm.weight"))
        return self.ops.add(scaled, self._weight(f"{name}.LayerNorm.bias"))
