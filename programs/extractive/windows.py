"""Selects the pieces of passages that are worth reading for a question.

A piece is a run of whole sentences of one passage, short enough to be read at once. Pieces that
share the rarest words with the question come first, and only so many tokens are read: the time an
answer takes does not grow with the passages. Knows no model.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ragwright.programs.extractive.text import Sentence, content_stems, split_sentences

# Chosen on the articles `SELECTION` of benchmarks/train_reader.py: reading three times as much took
# three times as long and read no better.
WINDOW_WORDS = 50
READ_WORDS = 140
_RANK_COST = 0.02
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


@dataclass(frozen=True, slots=True)
class Window:
    """A run of sentences of one passage.

    Attributes:
        text: The sentences, joined by spaces.
        sentences: Those sentences.
        passage: The number of the passage, counted from 1.
        overlap: Weighted share of the question's words in it, in [0, 1].
    """

    text: str
    sentences: tuple[Sentence, ...]
    passage: int
    overlap: float

    def sentence_at(self, place: int) -> str:
        """Return the sentence that holds a character of the text."""
        end = 0
        for sentence in self.sentences:
            end += len(sentence.text) + 1
            if place < end:
                return sentence.text
        return self.sentences[-1].text


def windows_of(question: str, passages: Sequence[str]) -> tuple[Window, ...]:
    """Return what is to be read, the likeliest first; every passage's best piece before others."""
    runs = [
        (run, number)
        for number, passage in enumerate(passages, start=1)
        for run in _runs(split_sentences(passage))
    ]
    held = [_terms_of(run) for run, _ in runs]
    rarity = _rarity(comparison_terms(question), held)
    windows = [
        Window(" ".join(one.text for one in run), run, number, question_overlap(found, rarity))
        for (run, number), found in zip(runs, held, strict=True)
    ]
    windows.sort(key=lambda one: _RANK_COST * min(one.passage, 10) - one.overlap)
    return tuple(_affordable(windows))


def comparison_terms(text: str) -> frozenset[str]:
    """Return what texts are compared by: stems, and pairs of letters where no spaces are."""
    pairs = (
        run[place : place + 2]
        for run in _UNSPACED.findall(text)
        for place in range(max(1, len(run) - 1))
    )
    return content_stems(_UNSPACED.sub(" ", text)) | frozenset(pairs)


def question_overlap(found: frozenset[str], rarity: Mapping[str, float]) -> float:
    """Return the weighted share of the question's words that were found."""
    total = sum(rarity.values())
    return sum(weight for term, weight in rarity.items() if term in found) / total if total else 0.0


def best_sentence(question: str, windows: Iterable[Window]) -> tuple[Sentence, Window, float]:
    """Return the sentence that shares most with the question, and its overlap."""
    places = [(sentence, window) for window in windows for sentence in window.sentences]
    held = [_sentence_terms(sentence) for sentence, _ in places]
    rarity = _rarity(comparison_terms(question), held)
    scores = [question_overlap(found, rarity) for found in held]
    best = scores.index(max(scores))
    return *places[best], scores[best]


def _runs(sentences: Sequence[Sentence]) -> list[tuple[Sentence, ...]]:
    """Group sentences into runs of up to `WINDOW_WORDS` words, as even as can be."""
    total = sum(_size(one) for one in sentences)
    share = total / max(1, math.ceil(total / WINDOW_WORDS))
    runs: list[list[Sentence]] = []
    size = 0
    for sentence in sentences:
        if not runs or size + _size(sentence) / 2 > share:
            runs.append([])
            size = 0
        runs[-1].append(sentence)
        size += _size(sentence)
    return [tuple(run) for run in runs]


def _size(sentence: Sentence) -> int:
    unspaced = sum(len(run) for run in _UNSPACED.findall(sentence.text))
    return max(1, sum(1 for word in sentence.words if word.kind != "mark"), unspaced)


def _affordable(windows: Sequence[Window]) -> Iterable[Window]:
    """Keep the first windows of as many words as are read; the first of all in any case."""
    left = READ_WORDS
    for place, window in enumerate(windows):
        size = sum(_size(sentence) for sentence in window.sentences)
        if place and size > left:
            continue
        left -= size
        yield window


def _terms_of(run: Sequence[Sentence]) -> frozenset[str]:
    return frozenset().union(*map(_sentence_terms, run))


def _sentence_terms(sentence: Sentence) -> frozenset[str]:
    if _UNSPACED.search(sentence.text):
        return comparison_terms(sentence.text)
    return sentence.stems


def _rarity(asked: frozenset[str], held: Sequence[frozenset[str]]) -> dict[str, float]:
    """Weigh each question word by log(1 + (N - n + 0.5) / (n + 0.5)), the IDF of BM25.

    N counts the texts and n those that hold the word (Robertson and Zaragoza, The Probabilistic
    Relevance Framework, 2009).
    """
    counts = Counter(term for found in held for term in found & asked)
    total = len(held)
    return {
        term: math.log(1 + (total - counts[term] + 0.5) / (counts[term] + 0.5))
        for term in sorted(asked)
    }
