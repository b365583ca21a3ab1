"""Ranked sentences and a form in, the span that answers best out.

Candidates are runs of words inside one sentence that start and end on a content word, and whatever
stands in quotation marks. Each gets a weighted sum of generic features: its sentence, its fit to
the form, its distance to the question's words, its boundaries. Knows nothing of prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from programs.extractive.form import Form, QuestionKind, kind_of, question_kind
from programs.extractive.ranking import Ranked
from programs.extractive.text import Sentence, Word, content_stems

SEARCHED_SENTENCES = 8
_LONGEST_SENTENCE = 80
_QUOTES = frozenset("\"'`\u201c\u201d\u2018\u2019")
_BREAKS = frozenset('.;:!?()[]{}"\u201c\u201d`«»')
_DETERMINERS = frozenset(("a", "an", "the", "its", "their", "his", "her"))
_COPULAS = frozenset(("is", "are", "was", "were", "be", "called", "named", "as", "means"))
_CUES = {
    "where": frozenset(("in", "at", "near", "from", "to", "on")),
    "when": frozenset(("in", "on", "during", "since", "until", "by", "before", "after")),
    "who": frozenset(("by",)),
    "why": frozenset(("because", "due", "to", "for")),
    "how": frozenset(("by", "through", "using", "with")),
}
_VERBAL = ("ed", "ing", "ly")

FEATURES = (
    "overlap", "cosine", "rank", "kind", "length", "near", "around", "asked", "head", "left",
    "right", "split", "cue", "stops", "determiner", "copula", "of", "verbal", "opening",
    "enclosed", "literal", "rare",
)  # fmt: skip
WEIGHTS = (
    2.0, 2.0, 0.5, 0.8, 0.7, 1.0, 1.0, -2.0, 0.5, 0.4,
    0.4, -1.0, 0.5, -0.6, 0.2, 0.2, -0.5, -0.5, 0.0,
    0.3, 1.0, 0.3,
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


def best_span(question: str, ranked: Sequence[Ranked], form: Form) -> Span | None:
    """Return the candidate with the highest score; the earlier one if two are equal."""
    return max(candidates(question, ranked, form), key=lambda span: span.score, default=None)


def candidates(question: str, ranked: Sequence[Ranked], form: Form) -> Iterator[Span]:
    """Yield every candidate of the best sentences with its features."""
    asked = content_stems(question)
    kind = question_kind(question)
    seen: dict[str, int] = {}
    for one in ranked:
        for word in one.sentence.stems:
            seen[word] = seen.get(word, 0) + 1
    for place, source in enumerate(ranked[:SEARCHED_SENTENCES]):
        reader = _Reader(source.sentence, asked, kind, seen)
        outside = (source.overlap, source.cosine, 1 / (1 + place))
        for start, end in reader.runs(form.longest):
            inside = reader.features(start, end, form=form)
            yield Span(reader.text(start, end), source, (*outside, *inside))


class _Reader:
    """One sentence, prepared so that each of its candidates costs little."""

    def __init__(self, sentence: Sentence, asked: frozenset[str], kind: QuestionKind, seen) -> None:
        self.sentence = sentence
        self.words = sentence.words[:_LONGEST_SENTENCE]
        self.hits = [word.content and word.stem in asked for word in self.words]
        self.cues = _CUES.get(kind.word, frozenset())
        self.near = _nearness(self.hits)
        self.around = _around(self.hits)
        self.head = _nearness([word.stem == kind.head for word in self.words])
        self.rare = [1 / seen.get(word.stem, 1) if word.content else 0.0 for word in self.words]

    def runs(self, longest: int) -> Iterator[tuple[int, int]]:
        """Yield [start, end) of every run that may be an answer."""
        for start, first in enumerate(self.words):
            if first.text in _QUOTES:
                yield from self._quoted(start + 1, longest)
            if first.content:
                yield from self._unquoted(start, longest)

    def _unquoted(self, start: int, longest: int) -> Iterator[tuple[int, int]]:
        count = 0
        for end in range(start + 1, len(self.words) + 1):
            last = self.words[end - 1]
            count += last.kind != "mark"
            if count > longest or last.text in _BREAKS:
                return
            if last.content and not all(self.hits[start:end]):
                yield start, end

    def _quoted(self, start: int, longest: int) -> Iterator[tuple[int, int]]:
        """Yield what stands between two quotation marks if `_unquoted` does not."""
        for end in range(start + 1, min(len(self.words), start + longest + 3)):
            if self.words[end].text in _QUOTES:
                run = self.words[start:end]
                plain = run[0].content and run[-1].content
                if not plain or any(word.text in _BREAKS for word in run):
                    yield start, end
                return

    def text(self, start: int, end: int) -> str:
        return self.sentence.text[self.words[start].start : self.words[end - 1].end]

    def features(self, start: int, end: int, *, form: Form) -> tuple[float, ...]:
        """The features from "kind" on; see `FEATURES`."""
        run = self.words[start:end]
        before = self.words[start - 1] if start else None
        after = self.words[end] if end < len(self.words) else None
        length = max(1, sum(word.kind != "mark" for word in run))
        content = sum(word.content for word in run)
        enclosed = _quotes(before) and _quotes(after)
        return (
            form.kinds[kind_of(run, "")],
            max(-6.0, form.fit(length)),
            max(self.near[start:end]),
            (self.around[start] + self.around[end - 1]) / 2,
            sum(self.hits[start:end]) / max(1, content),
            max(self.head[start:end]),
            _edge(before),
            _edge(after),
            float(_splits(before, run[0]) + _splits(run[-1], after)),
            float(before is not None and before.text.lower() in self.cues),
            (len(run) - content) / len(run),
            float(before is not None and before.text.lower() in _DETERMINERS),
            float(before is not None and before.text.lower() in _COPULAS),
            float(after is not None and after.text.lower() == "of"),
            sum(word.kind == "plain" and word.text.endswith(_VERBAL) for word in (run[0], run[-1]))
            / 2,
            float(start == 0),
            float(enclosed),
            form.literal if enclosed or run[0].kind in ("code", "exception") else 0.0,
            sum(self.rare[start:end]) / max(1, content),
        )


def _nearness(hits: Sequence[bool]) -> list[float]:
    """For each word 1 / (1 + distance to the nearest hit other than itself), 0 if none."""
    places = [index for index, hit in enumerate(hits) if hit]
    return [
        max((1 / (1 + abs(index - place)) for place in places if place != index), default=0.0)
        for index in range(len(hits))
    ]


def _around(hits: Sequence[bool]) -> list[float]:
    """For each word the share of all hits that stand within eight words of it."""
    places = [index for index, hit in enumerate(hits) if hit]
    total = max(1, len(places))
    return [sum(abs(index - place) <= 8 for place in places) / total for index in range(len(hits))]


def _edge(neighbour: Word | None) -> float:
    """1 where a candidate ends with its phrase: at a stop word, a mark or the sentence's end."""
    return float(neighbour is None or not neighbour.content)


def _quotes(neighbour: Word | None) -> bool:
    return neighbour is not None and neighbour.text in _QUOTES


def _splits(left: Word | None, right: Word | None) -> bool:
    """Whether a boundary between two words cuts a name or a number in two."""
    if left is None or right is None:
        return False
    return left.kind == right.kind and left.kind in ("proper", "number", "date")
