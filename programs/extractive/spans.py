"""Ranked sentences and a form in, the span that answers best out.

Every candidate gets a weighted sum of features: how its sentence ranks, how it stands in the
sentence, and how well it fits the form. Knows nothing of prompts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from programs.extractive import reading
from programs.extractive.form import Form, kind_of
from programs.extractive.ranking import Ranked

SEARCHED_SENTENCES = 8
_WORST_FIT = -6.0

FEATURES = (
    "overlap", "cosine", "rank", *reading.FEATURES, "kind", "background", "length", "words",
)  # fmt: skip

# Fitted by conditional logit regression (one of the candidates is the answer) on questions of SQuAD
# and of Python's reference with eight demonstrations each, on one half of each set; rounded.
WEIGHTS = (
    2.6, 3.3, 1.5,
    2.0, 0.7, -2.5, 1.4, 0.4, 1.0, -1.2, 1.4, -2.1, 0.6, 0.8, -1.1, -1.5, 0.1, 1.9, 0.2,
    0.7, -0.7, 0.2, -0.2,
)  # fmt: skip


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


def best_span(question: str, ranked: Sequence[Ranked], form: Form) -> Span | None:
    """Return the candidate with the highest score; the earlier one if two are equal."""
    return max(candidates(question, ranked, form), key=lambda span: span.score, default=None)


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
        outside = (source.overlap, source.cosine, 1 / (1 + place))
        for start, end in reader.runs(longest):
            words = reader.words(start, end)
            count = max(1, sum(word.kind != "mark" for word in words))
            features = (*outside, *reader.features(start, end))
            runs.append(_Run(reader.text(start, end), source, features, kind_of(words, ""), count))
    return runs
