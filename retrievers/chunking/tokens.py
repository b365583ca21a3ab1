"""Texts in, their tokens counted or placed.

A tokenizer is named by a tiktoken encoding, or, with a `/` in the name, by an embedding model.
"""

from __future__ import annotations

import importlib.util
import os
import re
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from ragwright.retrievers.errors import ModelError

ENCODING = "cl100k_base"
_LONG = 4096
_LONG_SPACE = re.compile(rf"(?<!\s)\s{{{_LONG},}}")
_SPACE = 1024
_SHORT = 16


def count_tokens(text: str, encoding: str = ENCODING) -> int:
    """Return the length of a text in tokens; special tokens count as plain text."""
    return _count_short(text, encoding) if len(text) <= _SHORT else _count(text, encoding)


def _count(text: str, encoding: str) -> int:
    if "/" in encoding:
        return len(_load_tokenizer(encoding).encode(text, add_special_tokens=False).ids)
    return len(_encoded(load_encoding(encoding), text))


@lru_cache(maxsize=1 << 14)
def _count_short(text: str, encoding: str) -> int:
    return _count(text, encoding)


def token_starts(text: str, encoding: str) -> list[int]:
    """Return the character at which each token starts.

    A token can end inside a character; it then starts where that character does. Characters
    before the first token belong to it.
    """
    if not text:
        return []
    if "/" in encoding:
        offsets = _load_tokenizer(encoding).encode(text, add_special_tokens=False).offsets
        starts = [start for start, _ in offsets]
    else:
        loaded = load_encoding(encoding)
        pieces = loaded.decode_tokens_bytes(_encoded(loaded, text))
        starts = _characters_at(text, [len(piece) for piece in pieces])
    return [0, *starts[1:]]


def _encoded(loaded: tiktoken.Encoding, text: str) -> list[int]:
    """Return the tokens of a text.

    White space beyond a few thousand characters, over which tiktoken's stack overflows, is encoded
    in pieces.
    """
    if len(text) < _LONG:
        return loaded.encode_ordinary(text)
    cuts = [
        place
        for space in _LONG_SPACE.finditer(text)
        for place in range(space.start() + _SPACE, space.end(), _SPACE)
    ]
    parts = (text[start:end] for start, end in pairwise([0, *cuts, len(text)]))
    return [token for part in parts for token in loaded.encode_ordinary(part)]


def _characters_at(text: str, lengths: list[int]) -> list[int]:
    """Return the character in which each of the byte strings that a text consists of begins."""
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    places = np.cumsum([0, *lengths[:-1]])
    character: list[int] = (np.cumsum((data & 0xC0) != 0x80) - 1)[places].tolist()
    return character


@lru_cache(maxsize=8)
def _load_tokenizer(name: str) -> Any:
    """Load the tokenizer of an embedding model, without its limit on length."""
    from ragwright.retrievers.embedding.files import find_model, load_tokenizer

    return load_tokenizer(find_model(name).folder)


@lru_cache(maxsize=8)
def load_encoding(name: str = ENCODING) -> tiktoken.Encoding:
    """Load a tiktoken encoding, without the network where litellm carries a copy of it.

    Raises:
        ModelError: There is no encoding of that name, or it cannot be downloaded.
    """
    if "TIKTOKEN_CACHE_DIR" not in os.environ:
        _use_bundled_vocabularies()
    try:
        return tiktoken.get_encoding(name)
    except (ValueError, OSError) as error:
        raise ModelError(
            f"The tokenizer {name!r} cannot be loaded: {str(error).splitlines()[0]}",
            hint=f"{ENCODING!r} and 'o200k_base' work without a network.",
        ) from error


def _use_bundled_vocabularies() -> None:
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "litellm_core_utils" / "tokenizers"
    if folder.is_dir():
        os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
