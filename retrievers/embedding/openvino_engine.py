"""OpenVINO: the fastest engine on a processor with bfloat16.

A model is converted once and kept in the cache folder: BERT and its kin, which MiniLM is, from
their weights alone, others through torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ragwright.retrievers.embedding.base import Floats, Integers, Precision, thread_limit
from ragwright.retrievers.embedding.bert import bert_as_onnx, is_plain_bert
from ragwright.retrievers.embedding.converted import converted_model_folder
from ragwright.retrievers.embedding.files import ModelFiles
from ragwright.retrievers.embedding.torch_engine import exportable_module, quiet_transformers

_GROUP = 32
WIDTH_STEP = 16
"""OpenVINO keeps kernels for every shape that it meets, some half a megabyte: a process that read
every length that texts can have would hold hundreds of them."""


class OpenVinoEngine:
    """One model, compiled by OpenVINO for this processor.

    Args:
        files: The model.
        precision: "float32" and "bfloat16" are that of the maths; "int8" stores weights in 8 bits
            and leaves the maths to what OpenVINO's kernels for this processor do best.
    """

    def __init__(self, files: ModelFiles, precision: Precision) -> None:
        import openvino

        self.name = f"openvino {precision}"

        def make(folder: Path) -> None:
            _saved(files, precision, folder)

        stored = "int8" if precision == "int8" else "float32"
        path = (
            converted_model_folder(files, f"openvino-{openvino.__version__}-{stored}", make)
            / "model.xml"
        )
        options = {"PERFORMANCE_HINT": "LATENCY"}
        if precision != "int8":
            options["INFERENCE_PRECISION_HINT"] = "f32" if precision == "float32" else "bf16"
        if threads := thread_limit():
            options["INFERENCE_NUM_THREADS"] = str(threads)
        compiled = openvino.Core().compile_model(path, "CPU", options)
        self._request = compiled.create_infer_request()
        self._most = files.max_tokens

    def hidden(self, ids: Integers, mask: Integers) -> Floats:
        given = [widened(array, self._most) for array in (ids, mask)]
        self._request.infer(given, share_inputs=True)
        found: Floats = self._request.get_output_tensor(0).data[:, : ids.shape[1]]
        return found


def widened(padded: Integers, most: int) -> Integers:
    """Pad token ids or a mask, shape (n, t), on to one of few widths; `most` is the widest.

    It takes no more processor time: over questions and passages of SQuAD 0.96 to 1.01 of it.
    """
    width = padded.shape[1]
    return np.pad(padded, ((0, 0), (0, min(-width % WIDTH_STEP, most - width))))


def openvino_has_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 in hardware."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _saved(files: ModelFiles, precision: Precision, folder: Path) -> None:
    import openvino

    core = openvino.Core()
    plain = is_plain_bert(files)
    model = core.read_model(bert_as_onnx(files)) if plain else _traced(files)
    if precision == "int8":
        _round_weights(model)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)


def _traced(files: ModelFiles) -> Any:
    """Convert through OpenVINO's front end directly: `convert_model` reports usage by network."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    module, example = exportable_module(files)
    with quiet_transformers():
        decoder = TorchScriptPythonDecoder(module, example_input=example)
        front = FrontEndManager().load_by_framework("pytorch")
        return front.convert(front.load(decoder))


def _round_weights(model: Any) -> None:
    """Put 8-bit constants, with a scale for every 32 of a row, in the place of the weights."""
    from openvino.utils import replace_node

    for node in model.get_ordered_ops():
        source = node.input_value(1).get_node() if node.get_type_name() == "MatMul" else None
        if source is None or source.get_type_name() != "Constant":
            continue
        weights = source.get_data()
        rows = weights if node.get_attributes()["transpose_b"] else weights.T
        if rows.shape[1] % _GROUP == 0:
            replace_node(node, _rounded(node.input_value(0), rows))


def _rounded(taken: Any, weights: Floats) -> Any:
    """Return the product of what is taken and weights, shape (out, in), rounded to 8 bits."""
    from openvino import opset13 as ops

    rows, columns = weights.shape
    groups = weights.reshape(rows, columns // _GROUP, _GROUP)
    scale = np.maximum(np.abs(groups).max(axis=2, keepdims=True) / 127, 1e-12)
    codes = ops.constant(np.rint(groups / scale).astype(np.int8))
    decoded = ops.multiply(ops.convert(codes, "f32"), ops.constant(scale.astype(np.float32)))
    whole = ops.reshape(decoded, ops.constant(np.array([rows, columns], np.int64)), False)
    return ops.matmul(taken, whole, False, True)
