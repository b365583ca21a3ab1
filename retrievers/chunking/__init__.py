"""A document in, chunks with exact character offsets out. Pure functions.

Sizes are in tokens of a named tiktoken encoding. Chunks cover the document without a gap: without
overlap, joining them gives the text back. Knows nothing of vectors or stores.
"""

from retrievers.chunking.chunks import chunk, searched_text
from retrievers.chunking.settings import ChunkSettings
from retrievers.chunking.tokens import ENCODING, count_tokens, load_encoding

__all__ = [
    "ENCODING",
    "ChunkSettings",
    "chunk",
    "count_tokens",
    "load_encoding",
    "searched_text",
]
