"""Ranked passages in, numbered context inside a token budget out. A pure function.

Knows neither retrieval nor language models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from retrievers.chunking import count_tokens, load_encoding
from retrievers.types import Passage

NUMBER_TOKENS = 4
"""What the number before a passage costs: `[12] ` is at most four tokens."""

_SENTENCE_END = re.compile(r"[.!?]['\")\]]*\s")


@dataclass(frozen=True, slots=True)
class Context:
    """What the language model gets to read.

    Attributes:
        passages: The passages that fit; number n in `numbered` is `passages[n - 1]`.
        numbered: Their texts as `[n] text`.
        cut: How many passages did not fit.
    """

    passages: tuple[Passage, ...]
    numbered: tuple[str, ...]
    cut: int


def passage_tokens(passage: Passage) -> int:
    """Return what a passage costs in the context, from the count that the index keeps."""
    stored = passage.metadata.get("tokens")
    return NUMBER_TOKENS + (int(stored) if stored is not None else count_tokens(passage))


def build_context(passages: Sequence[Passage], budget: int) -> Context:
    """Number passages, in order, until the next one does not fit into `budget` tokens.

    The first is always kept: if it alone is too long, it is cut at a sentence's end.
    """
    kept: list[Passage] = []
    left = budget
    for passage in passages:
        cost = passage_tokens(passage)
        if cost > left:
            break
        kept.append(passage)
        left -= cost
    if not kept and passages:
        kept = [_shortened(passages[0], budget - NUMBER_TOKENS)]
    numbered = tuple(f"[{number}] {passage}" for number, passage in enumerate(kept, start=1))
    return Context(tuple(kept), numbered, len(passages) - len(kept))


def _shortened(passage: Passage, tokens: int) -> Passage:
    encoding = load_encoding()
    text = encoding.decode(encoding.encode_ordinary(passage)[:tokens], errors="ignore")
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    cut = (text[: ends[-1]] if ends else text).rstrip()
    return Passage(
        cut,
        id=passage.id,
        score=passage.score,
        metadata=passage.metadata,
        signals=passage.signals,
    )
