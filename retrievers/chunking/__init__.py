"""Cuts documents into chunks with exact character offsets. Pure functions.

Sizes are in tokens of a named tiktoken encoding. Chunks cover the document without a gap: without
overlap, joining them gives the text back. A chunk may have a parent: a larger piece that it lies
in and that is returned for it. Knows no store and no model: the semantic rule is handed
a function that embeds.
"""

from ragwright.retrievers.chunking.chunks import (
    child_chunks,
    chunk,
    parent_chunks,
    text_to_search,
)
from ragwright.retrievers.chunking.outside import Chunker
from ragwright.retrievers.chunking.semantic import Embed
from ragwright.retrievers.chunking.settings import ChunkSettings
from ragwright.retrievers.chunking.tokens import ENCODING, count_tokens, load_encoding

__all__ = [
    "ENCODING",
    "ChunkSettings",
    "Chunker",
    "Embed",
    "child_chunks",
    "chunk",
    "count_tokens",
    "load_encoding",
    "parent_chunks",
    "text_to_search",
]
