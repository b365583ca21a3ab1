"""Makes an ONNX graph of a model's files, if it is a BERT: no torch, no download.

Which models those are is for their `config.json` to say.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ragwright.retrievers.embedding.bert_graph import BertGraph
from ragwright.retrievers.embedding.files import ModelFiles, read_table
from ragwright.retrievers.errors import ModelError


def is_plain_bert(files: ModelFiles) -> bool:
    """Tell whether a model is what `bert_graph.py` writes, and nothing more."""
    config = _config(files)
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and (files.folder / "model.safetensors").is_file()
    )


def bert_as_onnx(files: ModelFiles) -> bytes:
    """Write the graph of a BERT from its weights: (ids, mask) to the last hidden states.

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


def _config(files: ModelFiles) -> dict[str, Any]:
    return read_table(files.folder / "config.json")
