"""Ranked sentences and a form in, the span that answers best out.

Every candidate gets a weighted sum of features: how its sentence ranks, how it stands in the
sentence, and how well it fits the form. The best of them are embedded, and the similarity of their
meaning to the question's is added. Knows nothing of prompts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ragwright.programs.extractive import reading
from ragwright.programs.extractive.form import Form, focus_of, kind_of
from ragwright.programs.extractive.ranking import Ranked, vectors_of

SEARCHED_SENTENCES = 8
EMBEDDED_SPANS = 20
_WORST_FIT = -6.0

FEATURES = (
    "overlap", "cosine", "rank", "passage", *reading.FEATURES, "kind", "background", "length",
    "words",
)  # fmt: skip

# Fitted on 300 questions of SQuAD by benchmarks/extractive_weights.py, rounded.
WEIGHTS = (
    4.4, 7.6, 1.5, 1.9,
    2.2, 0.9, -2.9, 1.4, 0.5, 1.4, -1.7, 3.0, -3.4, 0.6, 0.8, -0.5, -1.9, 0.2, 3.4, 0.2,
    1.2, -0.7, 0.6, -0.3,
)  # fmt: skip
# Chosen by hand: on other articles the same script finds no gain in fitting them.
MEANING_WEIGHTS = (1.1, 1.5)


@dataclass(frozen=True, slots=True)
class Span:
    """A candidate answer.

    Attributes:
        text: The characters of the sentence between its first and last word.
        source: The sentence it stands in.
        features: One number per name in `FEATURES`.
    """

    text: str
    source: Ranked
    features: tuple[float, ...]

    @property
    def score(self) -> float:
        return sum(w * value for w, value in zip(WEIGHTS, self.features, strict=True))


@dataclass(frozen=True, slots=True)
class _Run:
    text: str
    source: Ranked
    features: tuple[float, ...]
    kind: str
    words: int


def best_span(question: str, ranked: Sequence[Ranked], form: Form, *, embedder: str) -> Span | None:
    """Return the candidate with the highest score, meaning included; None if there is none."""
    by_text: dict[str, Span] = {}
    for span in sorted(candidates(question, ranked, form), key=lambda span: -span.score):
        by_text.setdefault(span.text, span)
        if len(by_text) == EMBEDDED_SPANS:
            break
    spans = list(by_text.values())
    meanings = _meanings(question, list(by_text), embedder=embedder)
    scores = [span.score + meaning for span, meaning in zip(spans, meanings, strict=True)]
    return spans[scores.index(max(scores))] if spans else None


def _meanings(question: str, texts: Sequence[str], *, embedder: str) -> list[float]:
    """Weigh each text's cosine with the question and with what the question asks for."""
    vectors = vectors_of([question, focus_of(question), *texts], embedder=embedder)
    cosines = vectors[2:] @ vectors[:2].T
    # The last digits of an embedding depend on its batch; rounding keeps answers deterministic.
    return [round(float(value), 3) for value in cosines @ np.array(MEANING_WEIGHTS)]


def candidates(question: str, ranked: Sequence[Ranked], form: Form) -> list[Span]:
    """Return every candidate of the best sentences with its features.

    "kind" is the log probability of its kind, and "background" that of its kind among the
    candidates: an answer of a kind that is rare here is the better one.
    """
    runs = _runs(question, ranked, form.longest)
    counts = Counter(run.kind for run in runs)
    return [
        Span(run.text, run.source, (*run.features, *_fit(run, form, counts[run.kind] / len(runs))))
        for run in runs
    ]


def _fit(run: _Run, form: Form, share: float) -> tuple[float, ...]:
    length = max(_WORST_FIT, form.fit(run.words))
    return form.kinds[run.kind], math.log(share), length, math.log(run.words)


def _runs(question: str, ranked: Sequence[Ranked], longest: int) -> list[_Run]:
    seen = Counter(stem for one in ranked for stem in one.sentence.stems)
    query = reading.Query.of(question, seen)
    runs: list[_Run] = []
    for place, source in enumerate(ranked[:SEARCHED_SENTENCES]):
        reader = reading.SentenceReader(source.sentence, query)
        outside = (source.overlap, source.cosine, 1 / (1 + place), 1 / source.passage)
        for start, end in reader.runs(longest):
            words = reader.words(start, end)
            count = max(1, sum(word.kind != "mark" for word in words))
            features = (*outside, *reader.features(start, end))
            runs.append(_Run(reader.text(start, end), source, features, kind_of(words, ""), count))
    return runs
