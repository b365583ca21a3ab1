"""Loads the embedder of a name, once per process."""

from __future__ import annotations

import importlib.util
import threading

from ragwright.retrievers.embedding.base import (
    MINILM,
    Backend,
    Embedder,
    EngineSettings,
    Precision,
    TransformerEngine,
)
from ragwright.retrievers.embedding.bert import is_plain_bert
from ragwright.retrievers.embedding.checked import CheckedEmbedder
from ragwright.retrievers.embedding.files import ModelFiles, damaged_file, find_model, read_table
from ragwright.retrievers.embedding.hashing import HashEmbedder
from ragwright.retrievers.embedding.hosted import PREFIX, HostedEmbedder, is_hosted
from ragwright.retrievers.embedding.prompts import (
    NO_PROMPT,
    UNPROMPTED,
    Prompt,
    PromptedEmbedder,
    PromptSettings,
)
from ragwright.retrievers.errors import InputError, ModelError
from ragwright.retrievers.trust import is_reference, resolve_class_with

_LOCK = threading.Lock()
_LOADED: dict[tuple[str, EngineSettings, Prompt], Embedder] = {}

AUTO = EngineSettings()
MOST_HASHED = 4096
"""Dimensions of the embedder without a model: an index keeps a matrix of their square."""

NEEDS: dict[Backend, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "onnx": ("onnxruntime",),
    "torch": ("torch",),
}
"""What each backend imports, the fastest backend first; ONNX Runtime comes with Chroma."""

PRECISIONS: dict[Backend, tuple[Precision, ...]] = {
    "openvino": ("float32", "bfloat16", "int8"),
    "onnx": ("float32", "int8"),
    "torch": ("float32", "bfloat16"),
}
"""What each backend can do."""


def is_loaded(model: str, engine: EngineSettings) -> bool:
    """Tell whether `load_embedder` loaded an embedder in this process."""
    with _LOCK:
        return any((model, engine) == known[:2] for known in _LOADED)


def load_embedder(
    model: str = MINILM, engine: EngineSettings = AUTO, prompt: Prompt = NO_PROMPT
) -> Embedder:
    """Return the embedder of that name, loaded once per process.

    Args:
        model: `"hash"` or `"hash:DIMENSION"` for the `HashEmbedder`, `"litellm:PROVIDER/MODEL"`
            for a model behind an API, `module:Class` for an `Embedder` of your own, otherwise the
            name or folder of a sentence-transformers model.
        engine: What runs it.
        prompt: What it is told about each text.

    Raises:
        ModelError: The model cannot be loaded, or the backend is not installed.
    """
    with _LOCK:
        return _loaded(model, engine, prompt)


def model_prompts(model: str, engine: EngineSettings = AUTO) -> PromptSettings:
    """Return what a model's own files say that is put before questions and documents.

    Raises:
        ModelError: The model cannot be loaded.
    """
    found = getattr(load_embedder(model, engine), "prompts", UNPROMPTED)
    return found if isinstance(found, PromptSettings) else UNPROMPTED


def _loaded(model: str, engine: EngineSettings, prompt: Prompt) -> Embedder:
    known = (model, engine, prompt)
    if known not in _LOADED:
        if prompt.text:
            inner = _loaded(model, engine, Prompt(type=prompt.type))
            _LOADED[known] = PromptedEmbedder(inner, prompt.text)
        elif prompt.type and is_hosted(model):
            name = model.removeprefix(PREFIX)
            _LOADED[known] = HostedEmbedder(name, input_type=prompt.type)
        else:
            _LOADED[known] = _build(model, engine)
    return _LOADED[known]


def _build(model: str, engine: EngineSettings) -> Embedder:
    kind, _, dimension = model.partition(":")
    if kind == "hash":
        return HashEmbedder(_hash_dimension(model, dimension))
    if is_hosted(model):
        return HostedEmbedder(model.removeprefix(PREFIX))
    if is_reference(model):
        return _outside(model)
    files = find_model(model)
    if files.pooling is None:
        from ragwright.retrievers.embedding.sentence_transformer import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(files)
    from ragwright.retrievers.embedding.transformer import TransformerEmbedder

    backend = _backend(engine, files)
    running = _engine(files, backend, _precision(engine, backend))
    return TransformerEmbedder(files, running, _dimension(files))


def _hash_dimension(model: str, dimension: str) -> int:
    if dimension and not (dimension.isdecimal() and 0 < int(dimension[:9]) <= MOST_HASHED):
        raise ModelError(
            f"There is no embedder {model!r}.",
            hint=f"Write hash:DIMENSION, with 1 to {MOST_HASHED:,} of them, or hash.",
        )
    return int(dimension or 64)


def _outside(reference: str) -> Embedder:
    """Make an embedder of the user's own; its class is called without arguments."""
    made = resolve_class_with(reference, "encode")()
    lacking = [name for name in ("identity", "engine", "token_vectors", "encode")
               if not hasattr(made, name)]  # fmt: skip
    if lacking:
        raise InputError(
            f"{reference!r} is no Embedder: it lacks {', '.join(lacking)}.",
            hint="See the protocol ragwright.retrievers.embedding.Embedder.",
        )
    return CheckedEmbedder(made, reference)


def _backend(engine: EngineSettings, files: ModelFiles) -> Backend:
    if engine.backend == "auto":
        fastest = next(backend for backend in NEEDS if not _missing(backend))
        # ONNX Runtime has only plain BERTs without torch, and with torch there is no need of it.
        return "torch" if fastest == "onnx" and not is_plain_bert(files) else fastest
    if missing := _missing(engine.backend):
        raise ModelError(
            f"The embedding backend {engine.backend!r} needs {', '.join(missing)}.",
            hint=f"Install it: pip install 'ragwright[{engine.backend}]'",
        )
    return engine.backend


def _missing(backend: Backend) -> list[str]:
    return [name for name in NEEDS[backend] if importlib.util.find_spec(name) is None]


def _precision(engine: EngineSettings, backend: Backend) -> Precision:
    if engine.precision == "auto":
        return "bfloat16" if _bfloat16_is_fast(backend) else "float32"
    if engine.precision not in PRECISIONS[backend]:
        raise ModelError(
            f"The embedding backend {backend!r} cannot run in {engine.precision}.",
            hint=f"It does {', '.join(PRECISIONS[backend])}.",
        )
    return engine.precision


def _bfloat16_is_fast(backend: Backend) -> bool:
    if backend == "openvino":
        from ragwright.retrievers.embedding import openvino_engine

        return openvino_engine.openvino_has_bfloat16()
    if backend == "torch":
        from ragwright.retrievers.embedding import torch_engine

        return torch_engine.torch_has_bfloat16()
    return False


def _engine(files: ModelFiles, backend: Backend, precision: Precision) -> TransformerEngine:
    match backend:
        case "openvino":
            from ragwright.retrievers.embedding.openvino_engine import OpenVinoEngine

            return OpenVinoEngine(files, precision)
        case "onnx":
            from ragwright.retrievers.embedding.onnx_engine import OnnxEngine

            return OnnxEngine(files, precision)
        case "torch":
            from ragwright.retrievers.embedding.torch_engine import TorchEngine

            return TorchEngine(files, precision)


def _dimension(files: ModelFiles) -> int:
    config = files.folder / "config.json"
    size = read_table(config).get("hidden_size")
    if not isinstance(size, int):
        raise damaged_file(config, "it does not say the vectors' length (hidden_size)")
    return size
