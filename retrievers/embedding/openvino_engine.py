"""OpenVINO: the fastest engine on a processor, and one that needs no torch.

A model is converted once and kept in the cache folder: BERT and its kin, which MiniLM is, from
their weights alone, others through torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ragwright.retrievers.embedding.base import Floats, Integers, Precision
from ragwright.retrievers.embedding.bert_graph import BertGraph
from ragwright.retrievers.embedding.converted import converted
from ragwright.retrievers.embedding.files import ModelFiles
from ragwright.retrievers.embedding.torch_engine import exportable, quiet
from ragwright.retrievers.errors import ModelError

_GROUP = 32


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
        path = converted(files, f"openvino-{openvino.__version__}-{stored}", make) / "model.xml"
        options = {"PERFORMANCE_HINT": "LATENCY"}
        if precision != "int8":
            options["INFERENCE_PRECISION_HINT"] = "f32" if precision == "float32" else "bf16"
        compiled = openvino.Core().compile_model(path, "CPU", options)
        self._request = compiled.create_infer_request()

    def hidden(self, ids: Integers, mask: Integers) -> Floats:
        self._request.infer([ids, mask], share_inputs=True)
        found: Floats = self._request.get_output_tensor(0).data
        return found


def bfloat16_is_fast() -> bool:
    """Tell whether this processor multiplies bfloat16 in hardware."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _saved(files: ModelFiles, precision: Precision, folder: Path) -> None:
    import openvino

    model = _written(files) if _is_plain_bert(files) else _traced(files)
    if precision == "int8":
        _round_weights(model)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)


def _is_plain_bert(files: ModelFiles) -> bool:
    """Tell whether a model is what `bert_graph.py` writes, and nothing more."""
    config = _config(files)
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and (files.folder / "model.safetensors").is_file()
    )


def _config(files: ModelFiles) -> dict[str, Any]:
    found = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def _written(files: ModelFiles) -> Any:
    """Write the graph of a BERT from its weights.

    Raises:
        ModelError: The weights cannot be read, or are not those of a BERT.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    config = _config(files)
    try:
        held = load_file(files.folder / "model.safetensors")
        arrays = {k.removeprefix("bert."): v.astype(np.float32) for k, v in held.items()}
        return BertGraph(
            arrays,
            layers=int(config["num_hidden_layers"]),
            heads=int(config["num_attention_heads"]),
            epsilon=float(config.get("layer_norm_eps", 1e-12)),
        ).embedder()
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"The model {files.name!r} in {str(files.folder)!r} cannot be read: {error}.",
            hint="It needs whole weights in the safetensors format.",
        ) from error


def _traced(files: ModelFiles) -> Any:
    """Convert through OpenVINO's front end directly: `convert_model` reports usage by network."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    module, example = exportable(files)
    with quiet():
        decoder = TorchScriptPythonDecoder(module, example_input=example)
        front = FrontEndManager().load_by_framework("pytorch")
        return front.convert(front.load(decoder))


def _round_weights(model: Any) -> None:
    """Put 8-bit constants, with a scale for every 32 of a row, in the place of the weights."""
    from openvino import opset13 as ops

    for node in model.get_ordered_ops():
        source = node.input_value(1).get_node() if node.get_type_name() == "MatMul" else None
        if source is None or source.get_type_name() != "Constant":
            continue
        weights = source.get_data()
        rows, columns = weights.shape
        if not node.get_attributes()["transpose_b"] or columns % _GROUP:
            continue
        groups = weights.reshape(rows, columns // _GROUP, _GROUP)
        scale = np.maximum(np.abs(groups).max(axis=2, keepdims=True) / 127, 1e-12)
        codes = ops.constant(np.rint(groups / scale).astype(np.int8))
        decoded = ops.multiply(ops.convert(codes, "f32"), ops.constant(scale.astype(np.float32)))
        whole = ops.reshape(decoded, ops.constant(np.array([rows, columns], np.int64)), False)
        node.input(1).replace_source_output(whole.output(0))
