"""ONNX Runtime: an engine that needs no torch once it has converted.

A model is converted once, through torch, and kept in the cache folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ragwright.retrievers.embedding.base import Floats, Integers, Precision
from ragwright.retrievers.embedding.converted import converted
from ragwright.retrievers.embedding.files import ModelFiles
from ragwright.retrievers.embedding.torch_engine import exportable, quiet

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
            _exported(files, precision, folder)

        kind = f"onnx-{onnxruntime.__version__}-{precision}"
        path = converted(files, kind, make) / "model.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def hidden(self, ids: Integers, mask: Integers) -> Floats:
        found: Floats = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return found


def _exported(files: ModelFiles, precision: Precision, folder: Path) -> None:
    import torch

    module, example = exportable(files)
    path = folder / "model.onnx"
    axes = {0: "texts", 1: "tokens"}
    with quiet(), torch.inference_mode():
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
    if precision == "int8":
        _round_weights(path)


def _round_weights(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = path.with_name("whole.onnx")
    path.rename(whole)
    # Without VNNI, products of full 8-bit numbers overflow: 7 bits are safe on every processor.
    quantize_dynamic(
        str(whole), str(path), per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
    )
    whole.unlink()
