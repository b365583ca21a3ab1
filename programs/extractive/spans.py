"""Ranked sentences and a form in, the span that answers best out.

Candidates are runs of words inside one sentence that start and end on a content word. Each gets a
weighted sum of generic features: its sentence, its fit to the form, its distance to the question's
words, its boundaries. Knows nothing of prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from programs.extractive.form import Form, QuestionKind, kind_of, question_kind
from programs.extractive.ranking import Ranked
from programs.extractive.text import Sentence, Word, content_stems

SEARCHED_SENTENCES = 5
_LONGEST_SENTENCE = 90
_BREAKS = frozenset('.;:!?()[]{}"“”`«»')
_CUES = {
    "where": frozenset(
        (
            "in",
            "at",
            "near",
            "from",
            "to",
            "on",
        )
    ),
    "when": frozenset(
        (
            "in",
            "on",
            "during",
            "since",
            "until",
            "by",
            "before",
            "after",
        )
    ),
    "who": frozenset(("by",)),
    "why": frozenset(
        (
            "because",
            "due",
            "to",
            "for",
        )
    ),
    "how": frozenset(
        (
            "by",
            "through",
            "using",
            "with",
        )
    ),
}

FEATURES = ("sentence", "rank", "kind", "length", "near", "asked", "edges", "split", "cue", "stops")
WEIGHTS = (2.0, 1.0, 0.8, 0.7, 1.0, -2.0, 0.6, -1.0, 0.5, -0.6)


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


def best_span(question: str, ranked: Sequence[Ranked], form: Form) -> Span | None:
    """Return the candidate with the highest score; the earlier one if two are equal."""
    return max(candidates(question, ranked, form), key=lambda span: span.score, default=None)


def candidates(question: str, ranked: Sequence[Ranked], form: Form) -> Iterator[Span]:
    """Yield every candidate of the best sentences with its features."""
    asked = content_stems(question)
    kind = question_kind(question)
    top = ranked[0].score if ranked else 0.0
    for place, source in enumerate(ranked[:SEARCHED_SENTENCES]):
        reader = _Reader(source.sentence, asked, kind)
        for start, end in reader.runs(form.longest):
            outside = (source.score - top, -float(place))
            text = reader.text(start, end)
            inside = reader.features(start, end, form=form, text=text)
            yield Span(text, source, (*outside, *inside))


class _Reader:
    """One sentence, prepared so that each of its candidates costs little."""

    def __init__(self, sentence: Sentence, asked: frozenset[str], kind: QuestionKind) -> None:
        self.sentence = sentence
        self.words = sentence.words[:_LONGEST_SENTENCE]
        self.hits = [word.content and word.stem in asked for word in self.words]
        self.cues = _CUES.get(kind.word, frozenset())
        self.near = _nearness(self.hits)

    def runs(self, longest: int) -> Iterator[tuple[int, int]]:
        """Yield [start, end) of every run that may be an answer."""
        for start, first in enumerate(self.words):
            if not first.content:
                continue
            count = 0
            for end in range(start + 1, len(self.words) + 1):
                last = self.words[end - 1]
                count += last.kind != "mark"
                if count > longest or last.text in _BREAKS:
                    break
                if last.content and not all(self.hits[start:end]):
                    yield start, end

    def text(self, start: int, end: int) -> str:
        return self.sentence.text[self.words[start].start : self.words[end - 1].end]

    def features(self, start: int, end: int, *, form: Form, text: str) -> tuple[float, ...]:
        """The features from "kind" on; see `FEATURES`."""
        run = self.words[start:end]
        before = self.words[start - 1] if start else None
        after = self.words[end] if end < len(self.words) else None
        length = sum(word.kind != "mark" for word in run)
        content = sum(word.content for word in run)
        return (
            form.kinds[kind_of(run, text)],
            max(-6.0, form.fit(length)),
            max(self.near[start:end]),
            sum(self.hits[start:end]) / content,
            _edge(before) + _edge(after),
            float(_splits(before, run[0]) + _splits(run[-1], after)),
            float(before is not None and before.text.lower() in self.cues),
            (len(run) - content) / len(run),
        )


def _nearness(hits: Sequence[bool]) -> list[float]:
    """For each word 1 / (1 + distance to the nearest question word), 0 if there is none."""
    places = [index for index, hit in enumerate(hits) if hit]
    return [
        max((1 / (1 + abs(index - place)) for place in places if place != index), default=0.0)
        for index in range(len(hits))
    ]


def _edge(neighbour: Word | None) -> float:
    """1 where a candidate ends with its phrase: at a stop word, a mark or the sentence's end."""
    return float(neighbour is None or not neighbour.content)


def _splits(left: Word | None, right: Word | None) -> bool:
    """Whether a boundary between two words cuts a name or a number in two."""
    if left is None or right is None:
        return False
    return left.kind == right.kind and left.kind in ("proper", "number", "date")
