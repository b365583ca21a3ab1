"""Builds the context: numbers ranked passages inside a token budget. Pure functions.

Knows neither retrieval nor language models: see `window.py` for what a model's window leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ragwright.programs.knobs import Order
from ragwright.programs.neighbours import Extend
from ragwright.retrievers.chunking import count_tokens, load_encoding
from ragwright.retrievers.text import cut_at_sentence
from ragwright.retrievers.types import TABLE_HEADER, Passage

NUMBER_TOKENS = 4
"""What the number before a passage costs: `[12] ` is at most four tokens."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the language model gets to read.

    Attributes:
        passages: The passages that fit; number n in `numbered` is `passages[n - 1]`.
        numbered: Their texts as `[n] text`.
        cut: The ids of the passages that were left out: they did not fit, or repeat another.
        truncated: Whether the only passage was cut at a sentence's end.
    """

    passages: tuple[Passage, ...]
    numbered: tuple[str, ...]
    cut: tuple[str, ...] = ()
    truncated: bool = False


def passage_tokens(passage: Passage) -> int:
    """Return what a passage costs in the context, from the count that the index keeps."""
    stored = passage.metadata.get("tokens")
    return NUMBER_TOKENS + (int(stored) if stored is not None else count_tokens(passage.shown))


def build_context(
    passages: Sequence[Passage],
    budget: int,
    *,
    order: Order = "rank",
    extend: Extend | None = None,
) -> Context:
    """Number the passages that fit into `budget` tokens.

    They are taken best first, each that still fits and does not repeat the text of another, as
    `selection.pack_context` does. The best is always kept: if it is too long, it is cut at the end
    of a sentence.

    Args:
        passages: Best first.
        budget: In tokens of the index's encoding.
        order: In which order they are numbered.
        extend: Adds their neighbours to what is kept, where there is room left.
    """
    kept: list[Passage] = []
    cut: list[str] = []
    texts: set[str] = set()
    left, truncated = budget, False
    for passage in passages:
        cost = passage_tokens(passage)
        if not kept and cost > budget:
            kept, left, truncated = [truncate_passage(passage, budget - NUMBER_TOKENS)], 0, True
            texts.add(str(passage))
        elif cost <= left and passage not in texts:
            kept.append(passage)
            texts.add(str(passage))
            left -= cost
        else:
            cut.append(passage.id)
    if extend is not None:
        kept = extend(kept, left)
    return replace(number_passages(ORDERS[order](kept)), cut=tuple(cut), truncated=truncated)


def number_passages(passages: Sequence[Passage]) -> Context:
    """Number passages as they stand."""
    texts = tuple(f"[{place}] {passage.shown}" for place, passage in enumerate(passages, start=1))
    return Context(tuple(passages), texts)


def truncate_passage(passage: Passage, tokens: int) -> Passage:
    """Cut a passage to so many tokens, at the end of a sentence, or else of a word."""
    encoding = load_encoding()
    header = count_tokens(passage.shown) - count_tokens(passage)
    facts = dict(passage.metadata)
    if header > tokens // 2:
        facts.pop(TABLE_HEADER)
    else:
        tokens -= header
    text = encoding.decode(encoding.encode_ordinary(passage)[: max(0, tokens)], errors="ignore")
    cut = cut_at_sentence(str(passage), len(text))
    return Passage(
        cut,
        id=passage.id,
        score=passage.score,
        metadata=facts,
        signals=passage.signals,
    )


def _as_ranked(passages: Sequence[Passage]) -> list[Passage]:
    return list(passages)


def _by_document(passages: Sequence[Passage]) -> list[Passage]:
    """Documents by their best passage; inside each, passages as they stand in it."""
    first = {passage.document: place for place, passage in reversed(list(enumerate(passages)))}

    def place(passage: Passage) -> tuple[int, int]:
        return first[passage.document], int(passage.metadata.get("start", 0))

    return sorted(passages, key=place)


def _best_at_both_ends(passages: Sequence[Passage]) -> list[Passage]:
    """First, third, fifth ... fourth, second: models read the middle least (Liu et al., 2024)."""
    return [*passages[::2], *reversed(passages[1::2])]


ORDERS: dict[Order, Callable[[Sequence[Passage]], list[Passage]]] = {
    "rank": _as_ranked,
    "document": _by_document,
    "edges": _best_at_both_ends,
}
