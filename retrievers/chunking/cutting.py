"""Cuts a text into spans of so many tokens: by separators, or by tokens alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import regex

from ragwright.retrievers.chunking.settings import ChunkSettings
from ragwright.retrievers.chunking.tokens import count_tokens, token_starts
from ragwright.retrievers.text import CLAUSE_END, SENTENCE_END, cluster_before, cut_before

Span = tuple[int, int]

SEPARATORS = (r"\n\s*\n", r"\n", SENTENCE_END, CLAUSE_END, r"\s+")
"""Where the recursive rule may cut, coarsest first: after each match."""

LEVELS = (r"(?=\n\n)", r"(?=\n)", r"(?=\.)", r"(?=\?)", r"(?=!)", r"(?= )")
"""Where the rule by levels may cut: before each separator, as LangChain's splitter does in the
report of Chroma (Smith and Troynikov, Evaluating chunking strategies for retrieval, 2024)."""

_SURELY_LONGER = 12
"""Characters a token, at which a text has more tokens than asked for if it is not all spaces."""


def cut_by_tokens(text: str, settings: ChunkSettings) -> Iterator[Span]:
    """Cut every `size` tokens, wherever that falls but inside a character as readers see it."""
    starts = token_starts(text, settings.encoding)
    step = settings.size - settings.overlap
    for first in range(0, len(starts), step):
        last = first + settings.size
        end = cluster_before(text, starts[last]) if last < len(starts) else len(text)
        start = cluster_before(text, starts[first])
        if start < end:
            yield start, end
        if last >= len(starts):
            return


def cut_recursively(text: str, span: Span, settings: ChunkSettings) -> Iterator[Span]:
    """Cut at the coarsest separators that give small pieces, and fill chunks with those."""
    if span[0] < span[1]:
        yield from _filled(text, list(_split(text, span, SEPARATORS, settings)), settings)


def cut_by_separators(
    text: str, span: Span, settings: ChunkSettings, separators: tuple[str, ...] = LEVELS
) -> Iterator[Span]:
    """Cut at a separator; fill chunks with the pieces that fit, cut the others at the next."""
    if not separators:
        yield from _cut_at_words(text, span, settings)
        return
    fitting: list[Span] = []
    for piece in _cut_after(text, span, separators[0]):
        if not _is_longer(text, piece, settings.size - 1, settings):
            fitting.append(piece)
            continue
        yield from _slid(text, fitting, settings)
        fitting = []
        yield from cut_by_separators(text, piece, settings, separators[1:])
    yield from _slid(text, fitting, settings)


def _filled(text: str, pieces: Sequence[Span], settings: ChunkSettings) -> Iterator[Span]:
    overlap = settings.overlap
    start = end = pieces[0][0]
    size = 0
    for index, (_, piece_end) in enumerate(pieces):
        cost = _size(text, pieces[index], settings)
        if end > start and size + cost > settings.size:
            yield start, end
            start = _stepped_back(text, pieces, index, settings) if overlap else end
            size = _size(text, (start, end), settings)
        end, size = piece_end, size + cost
    if end > start:
        yield start, end


def _slid(text: str, pieces: Sequence[Span], settings: ChunkSettings) -> Iterator[Span]:
    """Fill chunks with whole pieces; the next starts with those that the overlap has room for."""
    sizes = [_size(text, piece, settings) for piece in pieces]
    first = total = 0
    for index, size in enumerate(sizes):
        if total + size > settings.size:
            yield pieces[first][0], pieces[index - 1][1]
            while total > settings.overlap or (total and total + size > settings.size):
                total -= sizes[first]
                first += 1
        total += size
    if pieces:
        yield pieces[first][0], pieces[-1][1]


def _split(
    text: str, span: Span, separators: tuple[str, ...], settings: ChunkSettings
) -> Iterator[Span]:
    """Cut a span into pieces of at most `size` tokens, at the coarsest separators that do."""
    limit = settings.size - settings.overlap
    if not _is_longer(text, span, limit, settings):
        yield span
        return
    for level, separator in enumerate(separators, start=1):
        first, *others = _cut_after(text, span, separator)
        if others:
            for piece in (first, *others):
                yield from _split(text, piece, separators[level:], settings)
            return
    yield from _cut_at_words(text, span, settings.model_copy(update={"size": limit}))


def _cut_at_words(text: str, span: Span, settings: ChunkSettings) -> Iterator[Span]:
    """Cut a span without separators into pieces of `size` tokens that end at words' borders.

    Every piece is a part of one pass over the tokens, so it takes time in proportion to the length.
    """
    at, end = span
    piece = text[at:end]
    starts = token_starts(piece, settings.encoding)
    cut = 0
    while True:
        last = max(0, bisect_right(starts, cut) - 1) + settings.size
        if last >= len(starts):
            break
        found = cut_before(piece, max(starts[last], cut + 1), cut)
        yield at + cut, at + found
        cut = found
    if at + cut < end:
        yield at + cut, end


def _is_longer(text: str, span: Span, size: int, settings: ChunkSettings) -> bool:
    """Tell whether a span has more tokens, by its beginning alone if that has more already."""
    start, end = span
    beginning = min(end, start + size * _SURELY_LONGER)
    if beginning < end and _size(text, (start, beginning), settings) > size:
        return True
    return _size(text, span, settings) > size


def _cut_after(text: str, span: Span, separator: str) -> Iterator[Span]:
    start, end = span
    for match in regex.compile(separator, regex.V1).finditer(text, start, end):
        if start < match.end() < end:
            yield start, match.end()
            start = match.end()
    yield start, end


def _stepped_back(text: str, pieces: Sequence[Span], index: int, settings: ChunkSettings) -> int:
    """Return where a chunk starts that repeats tokens of the whole pieces before `index`."""
    start, left = pieces[index - 1][1], settings.overlap
    for at in range(index - 1, -1, -1):
        left -= _size(text, pieces[at], settings)
        if left < 0:
            break
        start = pieces[at][0]
    return start


def _size(text: str, span: Span, settings: ChunkSettings) -> int:
    return count_tokens(text[span[0] : span[1]], settings.encoding)
