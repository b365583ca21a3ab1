"""A document in, chunks with exact character offsets out. Pure functions.

Sizes are in tokens of a named tiktoken encoding. Chunks cover the document without a gap: without
overlap, joining them gives the text back. Knows no store and no model: the semantic rule is handed
a function that embeds.
"""

from retrievers.chunking.chunks import chunk, searched_text
from retrievers.chunking.semantic import Embed
from retrievers.chunking.settings import ChunkSettings
from retrievers.chunking.tokens import ENCODING, count_tokens, load_encoding

__all__ = [
    "ENCODING",
    "ChunkSettings",
    "Embed",
    "chunk",
    "count_tokens",
    "load_encoding",
    "searched_text",
]
