"""Caches answers, as long as nothing changed that they depend on.

A key holds the artifact's version, the index and its generation, so that a promoted version or a
changed document is never answered from the past. Process-local; knows nothing of answers.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cachetools import TTLCache

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Everything that an answer depends on."""

    version: str
    state: str
    question: str
    rest: str

    @classmethod
    def of(cls, version: str, state: str, question: str, rest: Mapping[str, Any]) -> CacheKey:
        # A filter or an input may be as long as a request: of those, a digest is kept.
        written = json.dumps(rest, sort_keys=True).encode()
        return cls(version, state, question, hashlib.sha256(written).hexdigest())


ANSWER_BYTES = 1 << 25
"""Of the answers that are kept: one with many long passages takes a megabyte."""


class AnswerCache(Generic[T]):
    """An exact-match cache, oldest out first. Safe to use from several threads.

    Args:
        entries: How many answers are kept at most; 0 for none.
        seconds: For how long.
        size: The bytes that an answer takes, about; all of them take at most `ANSWER_BYTES`.
    """

    def __init__(self, entries: int, seconds: float, size: Callable[[T], int]) -> None:
        least = ANSWER_BYTES // entries if entries else 0
        self._entries: TTLCache[CacheKey, T] = TTLCache(
            ANSWER_BYTES if entries else 0, seconds, getsizeof=lambda kept: max(least, size(kept))
        )
        self._lock = threading.Lock()

    def get(self, key: CacheKey) -> T | None:
        with self._lock:
            return self._entries.get(key)

    def put(self, key: CacheKey, value: T) -> None:
        if self._entries.maxsize:
            # One answer that is larger than all may be is not kept.
            with self._lock, suppress(ValueError):
                self._entries[key] = value

    def __len__(self) -> int:
        return len(self._entries)
