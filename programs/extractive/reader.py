"""The extractive reader: finds the spans of texts that may answer a question, with scores.

The scores of different texts compare: each is what a span has over "the answer is not here", which
the model scores at its first token. Readings are kept in one bounded cache per process, in some 500
bytes each. Knows no prompts and no forms of answers.
"""

from __future__ import annotations

import hashlib
import re
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from cachetools import LRUCache

from ragwright.programs.extractive.network import Network, build_network
from ragwright.programs.extractive.weights import load_weights
from ragwright.programs.spared import spare_seconds
from ragwright.retrievers.embedding import Floats

MAX_TOKENS = 320
QUESTION_TOKENS = 64
STRIDE = 64
SPANS = 12
_BATCH = 8
_SPAN_TOKENS = 30
_CACHED = 20_000
"""Readings, which take 10 MB: what a compile reads again and again of some thousand questions."""
_SECONDS = struct.Struct("<f")
"""What reading took; it stands before the spans."""
_SPAN = struct.Struct("<IIi")
"""Start, length and thousandths of the score: a text is not kept, whoever asks again has it."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_UNIT = re.compile(r"\s?(?:%|BCE?\b|AD\b|CE\b|B\.C\.|A\.D\.)")
_EDGES = " \t\n,;:"
_PAIRS = {"(": ")", "[": "]", "{": "}", "\u201c": "\u201d", '"': '"'}

_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A run of characters of a text.

    Attributes:
        text: The characters.
        start: Where it starts in the text.
        score: The log of its odds against "the answer is not here"; higher is better.
    """

    text: str
    start: int
    score: float


class Reader:
    """MiniLM with the adapter; thread-safe.

    Args:
        network: Scores tokens.
        tokenizer: A `tokenizers.Tokenizer`.
    """

    def __init__(self, network: Network, tokenizer: Any) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._whole = type(tokenizer).from_str(tokenizer.to_str())
        self._whole.no_truncation()
        self._whole.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS, stride=STRIDE, strategy="only_second")
        self._tokenizer.no_padding()
        self._cache: LRUCache[bytes, bytes] = LRUCache(maxsize=_CACHED)
        self._lock = threading.Lock()

    def read(self, question: str, texts: Sequence[str]) -> list[tuple[TextSpan, ...]]:
        """Return up to `SPANS` spans of each text, best first; none of a text without words."""
        asked = self._shortened(question)
        keys = {text: _key(asked, text) for text in texts}
        with self._lock:
            kept = {text: self._cache.get(key) for text, key in keys.items()}
        spare_seconds(sum(_seconds(packed) for packed in kept.values() if packed is not None))
        known = {
            text: _unpacked(text, packed) for text, packed in kept.items() if packed is not None
        }
        missing = [text for text in keys if text not in known]
        if missing:
            start = time.perf_counter()
            fresh = self._fresh(asked, missing)
            each = (time.perf_counter() - start) / len(missing)
            known |= fresh
            with self._lock:
                self._cache.update(
                    {keys[text]: _packed(spans, each) for text, spans in fresh.items()}
                )
        return [known[text] for text in texts]

    def _shortened(self, question: str) -> str:
        """Keep the last question of a long story, or else its end: what is asked stands there."""
        offsets = self._whole.encode(question, add_special_tokens=False).offsets
        return (
            question
            if len(offsets) <= QUESTION_TOKENS
            else question[offsets[-QUESTION_TOKENS][0] :]
        )

    def _fresh(self, question: str, texts: Sequence[str]) -> dict[str, tuple[TextSpan, ...]]:
        found: dict[str, list[TextSpan]] = {text: [] for text in texts}
        encoded = self._tokenizer.encode_batch([(question, text) for text in texts])
        parts = [
            (text, part)
            for text, whole in zip(texts, encoded, strict=True)
            for part in (whole, *whole.overflowing)
        ]
        parts.sort(key=lambda one: len(one[1].ids))
        for first in range(0, len(parts), _BATCH):
            batch = parts[first : first + _BATCH]
            scores = self._network.scores(*_padded([part for _, part in batch]))
            for (text, part), rows in zip(batch, scores, strict=True):
                found[text].extend(_spans(text, part, rows[: len(part.ids)]))
        return {text: _best(spans) for text, spans in found.items()}


def _key(question: str, text: str) -> bytes:
    pair = f"{len(question)} {question}{text}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(pair, digest_size=16).digest()


def _packed(spans: Sequence[TextSpan], seconds: float) -> bytes:
    return _SECONDS.pack(seconds) + b"".join(
        _SPAN.pack(one.start, len(one.text), round(1000 * one.score)) for one in spans
    )


def _seconds(packed: bytes) -> float:
    (seconds,) = _SECONDS.unpack_from(packed)
    return float(seconds)


def _unpacked(text: str, packed: bytes) -> tuple[TextSpan, ...]:
    return tuple(
        TextSpan(text[start : start + length], start, thousandths / 1000)
        for start, length, thousandths in _SPAN.iter_unpack(packed[_SECONDS.size :])
    )


def load_reader() -> Reader:
    """Return the reader of this process, loaded at the first call.

    Raises:
        ModelError: MiniLM's weights are not there, or not the official ones.
    """
    with _LOCK:
        return _loaded()


@lru_cache(maxsize=1)
def _loaded() -> Reader:
    from tokenizers import Tokenizer

    weights = load_weights()
    return Reader(build_network(weights), Tokenizer.from_file(str(weights.tokenizer)))


def _padded(parts: Sequence[Any]) -> tuple[Any, Any, Any]:
    shape = (len(parts), max(len(part.ids) for part in parts))
    ids, mask, types = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for row, part in enumerate(parts):
        length = len(part.ids)
        ids[row, :length], mask[row, :length] = part.ids, 1
        types[row, :length] = part.type_ids
    return ids, mask, types


def _spans(text: str, part: Any, scores: Floats) -> list[TextSpan]:
    """Return the best spans of one part: pairs of a likely start and a likely end after it."""
    readable = np.array([sequence == 1 for sequence in part.sequence_ids])
    nothing = float(scores[0].sum())
    places = np.flatnonzero(readable)
    if not len(places):
        return []
    starts, ends = (
        places[np.argsort(-scores[places, side], kind="stable")[:SPANS]] for side in (0, 1)
    )
    spans = []
    for first in starts:
        for last in ends:
            if first <= last < first + _SPAN_TOKENS:
                score = round(float(scores[first, 0] + scores[last, 1]) - nothing, 3)
                start, end = widen_to_words(text, part.offsets[first][0], part.offsets[last][1])
                if start < end:
                    spans.append(TextSpan(text[start:end], start, score))
    return spans


def _best(spans: Sequence[TextSpan]) -> tuple[TextSpan, ...]:
    """Return the best spans, each text once."""
    kept: dict[str, TextSpan] = {}
    for span in sorted(spans, key=lambda one: (-one.score, one.start)):
        kept.setdefault(span.text, span)
    return tuple(list(kept.values())[:SPANS])


def widen_to_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span to whole words and to the era of a year, and trim what is no part of it."""
    while start > 0 and _joined(text, start):
        start -= 1
    while end < len(text) and _joined(text, end):
        end += 1
    unit = _UNIT.match(text, end)
    if unit and text[end - 1].isdigit():
        end = unit.end()
    while start < end and text[start] in _EDGES:
        start += 1
    while start < end and (text[end - 1] in _EDGES or _dangling(text[start:end])):
        end -= 1
    return (start + 1, end) if _opened(text[start:end]) else (start, end)


def _joined(text: str, place: int) -> bool:
    """Whether a cut here would go through a word or a number."""
    before, after = text[place - 1], text[place]
    return (before.isalnum() or before == "_") and (after.isalnum() or after == "_")


def _dangling(text: str) -> bool:
    """Whether a text ends in a full stop of the sentence, or closes what it does not open."""
    opens = {close: opened for opened, close in _PAIRS.items()}
    last = text[-1]
    if last in opens:
        opened = opens[last]
        return (
            text.count(last) % 2 == 1 if opened == last else text.count(opened) < text.count(last)
        )
    return last in ".!?" and not re.search(r"\b\w(\.\w)*\.$|\b(?:Inc|Jr|Sr|Ltd|Co|St)\.$", text)


def _opened(text: str) -> bool:
    """Whether a text starts with a bracket or quotation mark that it does not close."""
    close = _PAIRS.get(text[:1])
    if close is None:
        return False
    return text.count(close) % 2 == 1 if close == text[0] else close not in text
