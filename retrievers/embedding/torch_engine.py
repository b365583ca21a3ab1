"""torch: an engine, and what others convert models from that are no plain BERT."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ragwright.retrievers.embedding.base import Floats, Integers, Precision
from ragwright.retrievers.embedding.files import ModelFiles
from ragwright.retrievers.errors import ModelError
from ragwright.retrievers.extras import require


class TorchEngine:
    """One model, run by torch on the processor.

    Args:
        files: The model.
        precision: "float32" or "bfloat16", which takes half the time on a processor that has it.
    """

    def __init__(self, files: ModelFiles, precision: Precision) -> None:
        require("torch")
        import torch

        self.name = f"torch {precision}"
        self._torch = torch
        self._model = _loaded(files).to(getattr(torch, precision))

    def hidden(self, ids: Integers, mask: Integers) -> Floats:
        torch = self._torch
        with torch.inference_mode():
            found = self._model(
                input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
            )
        return np.asarray(found.last_hidden_state.float().numpy(), dtype=np.float32)


def torch_has_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 in hardware; otherwise it is slow."""
    import torch

    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def exportable_module(files: ModelFiles) -> tuple[Any, dict[str, Any]]:
    """Return a module of (input_ids, attention_mask) -> hidden states, and example inputs."""
    require("torch")
    import torch

    class LastHiddenState(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            output = self.model(input_ids=input_ids, attention_mask=attention_mask)
            return output.last_hidden_state

    ones = torch.ones(2, 7, dtype=torch.long)
    return LastHiddenState(_loaded(files)).eval(), {"input_ids": ones, "attention_mask": ones}


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from writing progress bars, and notes about its own insides."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _loaded(files: ModelFiles) -> Any:
    require("transformers", "torch")
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        with quiet_transformers():
            return AutoModel.from_pretrained(str(files.folder), use_safetensors=True).eval()
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"The embedding model {files.name!r} cannot be loaded: {str(error).splitlines()[0]}",
            hint="It needs whole weights in the safetensors format.",
        ) from error
