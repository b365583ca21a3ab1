"""A question and passages in, sentences in order of how likely they hold the answer out.

Two signals are added: the share of the question's rare words that stand in the sentence, and the
cosine of the two embeddings. Only sentences that the words put forward are embedded, and their
vectors are kept in one bounded cache per process. Knows nothing of prompts or answer forms.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from cachetools import LRUCache

from ragwright.programs.extractive.text import Sentence, content_stems, sentences_of
from ragwright.retrievers.embedding import Floats, load_embedder

EMBEDDED_SENTENCES = 12
_CACHED_VECTORS = 20_000

_LOCK = threading.Lock()
_VECTORS: LRUCache[tuple[str, str], Floats] = LRUCache(maxsize=_CACHED_VECTORS)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A sentence and how it scored.

    Attributes:
        passage: The number of its passage, counted from 1.
        overlap: Weighted share of the question's content words in it, in [0, 1].
        cosine: Similarity to the question in [-1, 1]; 0 if it was not embedded.
        score: What sentences are ordered by; higher is better.
    """

    sentence: Sentence
    passage: int
    overlap: float
    cosine: float
    score: float


def rank(question: str, passages: Sequence[str], *, embedder: str) -> tuple[Ranked, ...]:
    """Return all sentences of the passages, best first; equal scores keep their order."""
    places = [
        (sentence, number)
        for number, passage in enumerate(passages, start=1)
        for sentence in sentences_of(passage)
    ]
    if not places:
        return ()
    asked = content_stems(question)
    weights = _rarity(asked, [sentence.stems for sentence, _ in places])
    overlaps = [_overlap(sentence.stems, weights) for sentence, _ in places]
    around = _passage_overlaps(places, weights)
    cosines = _cosines(question, places, overlaps, embedder=embedder)
    ranked = [
        Ranked(
            sentence,
            number,
            overlap,
            cosine,
            overlap + cosine + 0.4 * around[number] - 0.02 * min(number, 10),
        )
        for (sentence, number), overlap, cosine in zip(places, overlaps, cosines, strict=True)
    ]
    return tuple(sorted(ranked, key=lambda one: -one.score))


def _rarity(asked: frozenset[str], sentences: Sequence[frozenset[str]]) -> dict[str, float]:
    """Weigh each question word by log(1 + (N - n + 0.5) / (n + 0.5)), the IDF of BM25.

    N counts the sentences of the context and n those that hold the word (Robertson and Zaragoza,
    The Probabilistic Relevance Framework, 2009).
    """
    counts = Counter(word for stems in sentences for word in stems & asked)
    total = len(sentences)
    return {
        word: math.log(1 + (total - counts[word] + 0.5) / (counts[word] + 0.5))
        for word in sorted(asked)
    }


def _overlap(stems: frozenset[str], weights: Mapping[str, float]) -> float:
    total = sum(weights.values())
    return sum(weight for word, weight in weights.items() if word in stems) / total if total else 0


def _passage_overlaps(
    places: Sequence[tuple[Sentence, int]], weights: Mapping[str, float]
) -> dict[int, float]:
    stems: dict[int, frozenset[str]] = {}
    for sentence, number in places:
        stems[number] = stems.get(number, frozenset()) | sentence.stems
    return {number: _overlap(words, weights) for number, words in stems.items()}


def _cosines(
    question: str,
    places: Sequence[tuple[Sentence, int]],
    overlaps: Sequence[float],
    *,
    embedder: str,
) -> list[float]:
    """Embed the sentences with the best words, and the best one of every passage."""
    order = sorted(range(len(places)), key=lambda index: -overlaps[index])
    chosen = set(order[:EMBEDDED_SENTENCES])
    tops: dict[int, int] = {}
    for index in order:
        tops.setdefault(places[index][1], index)
    picked = sorted(chosen | set(tops.values()))
    vectors = vectors_of([question, *(places[i][0].text for i in picked)], embedder=embedder)
    # The last digits of an embedding depend on its batch; rounding keeps answers deterministic.
    similarities = np.round(vectors[1:] @ vectors[0], 3)
    cosines = [0.0] * len(places)
    for index, similarity in zip(picked, similarities, strict=True):
        cosines[index] = float(similarity)
    return cosines


def vectors_of(texts: Sequence[str], *, embedder: str) -> Floats:
    """Return one row per text, from the cache of the process where possible."""
    with _LOCK:
        known = {text: _VECTORS[embedder, text] for text in texts if (embedder, text) in _VECTORS}
    missing = list(dict.fromkeys(text for text in texts if text not in known))
    if missing:
        fresh = dict(zip(missing, load_embedder(embedder).encode(missing).vectors, strict=True))
        known |= fresh
        with _LOCK:
            _VECTORS.update({(embedder, text): vector for text, vector in fresh.items()})
    return np.stack([known[text] for text in texts])
