"""Cuts a text where its meaning changes most, as a function that embeds sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import regex

from ragwright.retrievers.chunking.cutting import Span
from ragwright.retrievers.chunking.settings import ChunkSettings
from ragwright.retrievers.chunking.tokens import count_tokens
from ragwright.retrievers.embedding.base import Floats
from ragwright.retrievers.text import SENTENCE_END

Embed = Callable[[Sequence[str]], Floats]
"""Texts in, their vectors out: shape (n, d), each row of length 1."""

NEIGHBOURS = 1
"""Sentences on either side that a sentence is embedded with, as in Kamradt's semantic splitter."""
_SENTENCE = regex.compile(rf"{SENTENCE_END}|\n\s*\n", regex.V1)


def cut_by_meaning(text: str, settings: ChunkSettings, embed: Embed) -> Iterator[Span]:
    """Cut a text in two between the sentences that differ most, and the parts too, until they fit.

    How much two neighbours differ is 1 minus the cosine of their vectors, each of a sentence with
    its neighbours (Smith and Troynikov, Evaluating chunking strategies for retrieval, 2024, whose
    variant of Kamradt's splitter keeps a size, too). A text of at most `size` tokens stays whole
    and is not embedded; a longer sentence is left as it is.
    """
    sentences = _sentences(text)
    sizes = [count_tokens(text[start:end], settings.encoding) for start, end in sentences]
    if sum(sizes) <= settings.size or len(sentences) == 1:
        yield 0, len(text)
        return
    apart = _distances(text, sentences, embed)
    waiting = [(0, len(sentences))]
    while waiting:
        first, last = waiting.pop()
        if last - first == 1 or sum(sizes[first:last]) <= settings.size:
            yield sentences[first][0], sentences[last - 1][1]
            continue
        cut = first + 1 + int(np.argmax(apart[first : last - 1]))
        waiting += [(cut, last), (first, cut)]


def _sentences(text: str) -> list[Span]:
    ends = [match.end() for match in _SENTENCE.finditer(text) if 0 < match.end() < len(text)]
    return list(zip([0, *ends], [*ends, len(text)], strict=True))


def _distances(text: str, sentences: Sequence[Span], embed: Embed) -> Floats:
    """Return how much each sentence differs from the next, shape (n - 1,)."""
    most = len(sentences) - 1
    windows = [
        text[sentences[max(0, at - NEIGHBOURS)][0] : sentences[min(most, at + NEIGHBOURS)][1]]
        for at in range(len(sentences))
    ]
    vectors = embed(windows)
    return np.asarray(1 - np.einsum("nd,nd->n", vectors[:-1], vectors[1:]))
