"""What a process keeps of words and texts it met, so that it need not work them out again.

A server is asked new questions all day, with words that nobody asked before: whatever is kept is
bounded by the bytes it takes, so that it is full early and memory stays flat.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

from cachetools import LRUCache, cached

P = ParamSpec("P")
T = TypeVar("T")

MOST_WORDS = 1 << 12
"""Words in use are few: those are asked for again and again, and stay."""

LONGEST_WORD = 48
"""Letters of a word that is kept; a question may be one word of thousands."""


def remember_words(function: Callable[[str], T], *, most: int = MOST_WORDS) -> Callable[[str], T]:
    """Return the same function of a word, which keeps what it made of the words asked for last."""
    kept = lru_cache(maxsize=most)(function)

    @wraps(function)
    def remembered(word: str, /) -> T:
        return kept(word) if len(word) <= LONGEST_WORD else function(word)

    return remembered


def remember_within(
    most: int, size: Callable[[Any], int]
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that keeps what a function returned last, within a number of bytes.

    Args:
        most: Bytes.
        size: Of what is returned, in bytes, about; its arguments should not take much more.
    """
    kept = LRUCache[Any, Any](most, size)
    return cached(kept, lock=threading.Lock())
