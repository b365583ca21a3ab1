"""A chunker from outside the package: one sentence per chunk."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ragwright.retrievers.chunking import Chunker, ChunkSettings


class Sentences(Chunker):
    def spans(self, text: str, settings: ChunkSettings) -> Iterator[tuple[int, int]]:
        start = 0
        for match in re.finditer(r"(?<=[.!?])\s+|\Z", text):
            if match.end() > start:
                yield start, match.end()
                start = match.end()


class Beyond(Chunker):
    """Cuts where no text is."""

    def spans(self, text: str, settings: ChunkSettings) -> Iterator[tuple[int, int]]:
        yield 0, len(text) + 1
