"""A document in, chunks with exact character offsets out. Pure functions.

Sizes are in tokens of a named tiktoken encoding. Chunks cover the document without a gap: without
overlap, joining them gives the text back. Knows nothing of vectors or stores.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

import tiktoken
from pydantic import BaseModel, ConfigDict, Field, model_validator

from retrievers.errors import ModelError
from retrievers.types import Chunk, Document

ENCODING = "cl100k_base"

Span = tuple[int, int]


class ChunkSettings(BaseModel):
    """How documents are cut; stamped on an index.

    Attributes:
        kind: "recursive" cuts at the coarsest separator that gives pieces of the size,
            "token" every `size` tokens wherever that falls.
        size: Tokens of a chunk, at most.
        overlap: Tokens that a chunk repeats from the one before.
        encoding: The tiktoken encoding that tokens are counted in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["recursive", "token"] = "recursive"
    size: int = Field(200, ge=8, le=100_000)
    overlap: int = Field(0, ge=0)
    encoding: str = ENCODING

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} must be smaller than size {self.size}")
        return self


SEPARATORS = (r"\n\s*\n", r"\n", r"(?<=[.!?])\s+", r"(?<=[,;:])\s+", r"\s+")
"""Where the recursive chunker may cut, coarsest first: after each match."""


def chunk(document: Document, settings: ChunkSettings) -> list[Chunk]:
    """Cut a document into chunks, in order; pieces of white space alone are left out."""
    cut = _recursive if settings.kind == "recursive" else _by_tokens
    title = {"title": document.title} if document.title else {}
    metadata = {**title, **document.metadata}
    return [
        Chunk(document.id, start, end, document.text[start:end], metadata)
        for start, end in cut(document.text, settings)
        if not document.text[start:end].isspace()
    ]


def count_tokens(text: str, encoding: str = ENCODING) -> int:
    """Return the length of a text in tokens; special tokens count as plain text."""
    return len(load_encoding(encoding).encode_ordinary(text))


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


def _by_tokens(text: str, settings: ChunkSettings) -> Iterator[Span]:
    starts = _token_starts(text, settings.encoding)
    step = settings.size - settings.overlap
    for first in range(0, len(starts), step):
        last = first + settings.size
        yield starts[first], starts[last] if last < len(starts) else len(text)
        if last >= len(starts):
            return


def _token_starts(text: str, encoding: str) -> list[int]:
    """Return the character at which each token starts.

    A token can end inside a character; it then starts where that character does.
    """
    loaded = load_encoding(encoding)
    _, offsets = loaded.decode_with_offsets(loaded.encode_ordinary(text))
    return offsets


def _recursive(text: str, settings: ChunkSettings) -> Iterator[Span]:
    pieces = list(_split(text, (0, len(text)), SEPARATORS, settings))
    overlap = settings.overlap
    start = end = size = 0
    for index, (_, piece_end) in enumerate(pieces):
        cost = _size(text, pieces[index], settings)
        if end > start and size + cost > settings.size:
            yield start, end
            start = _stepped_back(text, pieces[:index], overlap, settings) if overlap else end
            size = _size(text, (start, end), settings)
        end, size = piece_end, size + cost
    if end > start:
        yield start, end


def _split(
    text: str, span: Span, separators: tuple[str, ...], settings: ChunkSettings
) -> Iterator[Span]:
    """Cut a span into pieces of at most `size` tokens, at the coarsest separators that do."""
    if _size(text, span, settings) <= settings.size - settings.overlap:
        yield span
        return
    if not separators:
        start, end = span
        limit = settings.model_copy(update={"size": settings.size - settings.overlap, "overlap": 0})
        yield from ((start + a, start + b) for a, b in _by_tokens(text[start:end], limit))
        return
    for piece in _cut_after(text, span, separators[0]):
        yield from _split(text, piece, separators[1:], settings)


def _cut_after(text: str, span: Span, separator: str) -> Iterator[Span]:
    start, end = span
    for match in re.compile(separator).finditer(text, start, end):
        if start < match.end() < end:
            yield start, match.end()
            start = match.end()
    yield start, end


def _stepped_back(text: str, pieces: list[Span], overlap: int, settings: ChunkSettings) -> int:
    """Return where a chunk starts that repeats up to `overlap` tokens of whole pieces."""
    start, left = pieces[-1][1], overlap
    for piece in reversed(pieces):
        left -= _size(text, piece, settings)
        if left < 0:
            break
        start = piece[0]
    return start


def _size(text: str, span: Span, settings: ChunkSettings) -> int:
    return count_tokens(text[span[0] : span[1]], settings.encoding)
