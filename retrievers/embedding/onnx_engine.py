"""ONNX Runtime: the engine that every installation has, for Chroma brings it.

A model is converted once and kept in the cache folder: BERT and its kin, which MiniLM is, from
their weights alone, others through torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ragwright.retrievers.embedding.base import Floats, Integers, Precision, thread_limit
from ragwright.retrievers.embedding.bert import bert_as_onnx, is_plain_bert
from ragwright.retrievers.embedding.converted import converted_model_folder
from ragwright.retrievers.embedding.files import ModelFiles
from ragwright.retrievers.embedding.torch_engine import exportable_module, quiet_transformers
from ragwright.retrievers.extras import require

_OPSET = 17


class OnnxEngine:
    """One model, run by ONNX Runtime on the processor.

    Args:
        files: The model.
        precision: "float32", or "int8": weights and, batch by batch, activations in 8 bits.
    """

    def __init__(self, files: ModelFiles, precision: Precision) -> None:
        import onnxruntime

        self.name = f"onnx {precision}"

        def make(folder: Path) -> None:
            _saved(files, precision, folder)

        kind = f"onnx-{onnxruntime.__version__}-{precision}"
        path = converted_model_folder(files, kind, make) / "model.onnx"
        self._session = open_onnx_session(str(path))

    def hidden(self, ids: Integers, mask: Integers) -> Floats:
        found: Floats = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return found


def open_onnx_session(model: str | bytes) -> Any:
    """Return ONNX Runtime's session of a file, or of its bytes; it may run in several threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads := thread_limit():
        options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Threads that spin between two products take processor time from whatever else runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _saved(files: ModelFiles, precision: Precision, folder: Path) -> None:
    path = folder / "model.onnx"
    if precision == "int8":
        require("onnx")
    if is_plain_bert(files):
        path.write_bytes(bert_as_onnx(files))
    else:
        _exported(files, path)
    if precision == "int8":
        _round_weights(path)


def _exported(files: ModelFiles, path: Path) -> None:
    require("torch", "onnx")
    import torch

    module, example = exportable_module(files)
    axes = {0: "texts", 1: "tokens"}
    with quiet_transformers(), torch.inference_mode():
        torch.onnx.export(
            module,
            tuple(example.values()),
            str(path),
            input_names=list(example),
            output_names=["hidden"],
            dynamic_axes=dict.fromkeys([*example, "hidden"], axes),
            opset_version=_OPSET,
            dynamo=False,
        )


def _round_weights(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = path.with_name("whole.onnx")
    path.rename(whole)
    # Without VNNI, products of full 8-bit numbers overflow: 7 bits are safe on every processor.
    quantize_dynamic(
        str(whole), str(path), per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
    )
    whole.unlink()
