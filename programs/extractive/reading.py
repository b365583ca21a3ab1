"""One sentence in, its candidate answers with generic features out.

Candidates are runs of words that start and end on a content word, and whatever stands in quotation
marks. Knows the question's words, but neither the form of answers nor other sentences' scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ragwright.programs.extractive.form import QuestionKind, question_kind
from ragwright.programs.extractive.text import Sentence, Word, content_stems

_LONGEST_SENTENCE = 80
_WINDOW = 8
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
    "near", "around", "asked", "head", "left", "right", "split", "cue", "stops", "determiner",
    "copula", "of", "verbal", "opening", "enclosed", "rare",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """A question prepared once for all sentences.

    Attributes:
        stems: Its content words.
        kind: What it asks for.
        seen: In how many sentences of the context each word stands.
    """

    stems: frozenset[str]
    kind: QuestionKind
    seen: Mapping[str, int]

    @classmethod
    def of(cls, question: str, seen: Mapping[str, int]) -> Query:
        return cls(content_stems(question), question_kind(question), seen)


class SentenceReader:
    """One sentence, prepared so that each of its candidates costs little."""

    def __init__(self, sentence: Sentence, query: Query) -> None:
        self._sentence = sentence
        self._words = sentence.words[:_LONGEST_SENTENCE]
        self._hits = [word.content and word.stem in query.stems for word in self._words]
        self._cues = _CUES.get(query.kind.word, frozenset())
        self._near = _nearness(self._hits)
        self._around = _around(self._hits)
        self._head = _nearness([word.stem == query.kind.head for word in self._words])
        self._rare = [
            1 / query.seen.get(word.stem, 1) if word.content else 0.0 for word in self._words
        ]

    def runs(self, longest: int) -> Iterator[tuple[int, int]]:
        """Yield [start, end) of every run of words that may be an answer."""
        for start, first in enumerate(self._words):
            if first.text in _QUOTES:
                yield from self._quoted(start + 1, longest)
            if first.content:
                yield from self._unquoted(start, longest)

    def words(self, start: int, end: int) -> tuple[Word, ...]:
        return self._words[start:end]

    def text(self, start: int, end: int) -> str:
        """Return the characters of the sentence from the first word to the last."""
        return self._sentence.text[self._words[start].start : self._words[end - 1].end]

    def features(self, start: int, end: int) -> tuple[float, ...]:
        """Return one number per name in `FEATURES`."""
        run = self._words[start:end]
        content = sum(word.content for word in run)
        edges = (run[0], run[-1])
        before = self._words[start - 1] if start else None
        after = self._words[end] if end < len(self._words) else None
        return (
            max(self._near[start:end]),
            (self._around[start] + self._around[end - 1]) / 2,
            sum(self._hits[start:end]) / max(1, content),
            max(self._head[start:end]),
            float(before is None or not before.content or self._hits[start - 1]),
            float(after is None or not after.content or self._hits[end]),
            float(_splits(before, run[0]) + _splits(run[-1], after)),
            _is_in(before, self._cues),
            (len(run) - content) / len(run),
            _is_in(before, _DETERMINERS),
            _is_in(before, _COPULAS),
            _is_in(after, frozenset(("of",))),
            sum(word.kind == "plain" and word.text.endswith(_VERBAL) for word in edges) / 2,
            float(start == 0),
            _is_in(before, _QUOTES) * _is_in(after, _QUOTES),
            sum(self._rare[start:end]) / max(1, content),
        )

    def _unquoted(self, start: int, longest: int) -> Iterator[tuple[int, int]]:
        count = 0
        for end in range(start + 1, len(self._words) + 1):
            last = self._words[end - 1]
            count += last.kind != "mark"
            if count > longest or last.text in _BREAKS:
                return
            if last.content and not all(self._hits[start:end]):
                yield start, end

    def _quoted(self, start: int, longest: int) -> Iterator[tuple[int, int]]:
        """Yield what stands between two quotation marks if `_unquoted` does not."""
        for end in range(start + 1, min(len(self._words), start + longest + 3)):
            if self._words[end].text in _QUOTES:
                run = self._words[start:end]
                covered = run[0].content and run[-1].content
                if not covered or any(word.text in _BREAKS for word in run):
                    yield start, end
                return


def _nearness(hits: Sequence[bool]) -> list[float]:
    """For each word 1 / (1 + distance to the nearest hit other than itself), 0 if none."""
    places = [index for index, hit in enumerate(hits) if hit]
    return [
        max((1 / (1 + abs(index - place)) for place in places if place != index), default=0.0)
        for index in range(len(hits))
    ]


def _around(hits: Sequence[bool]) -> list[float]:
    """For each word the share of all hits that stand within `_WINDOW` words of it."""
    places = [index for index, hit in enumerate(hits) if hit]
    total = max(1, len(places))
    return [
        sum(abs(index - place) <= _WINDOW for place in places) / total for index in range(len(hits))
    ]


def _is_in(neighbour: Word | None, words: frozenset[str]) -> float:
    return float(neighbour is not None and neighbour.text.lower() in words)


def _splits(left: Word | None, right: Word | None) -> bool:
    """Whether a boundary between two words cuts a name or a number in two."""
    if left is None or right is None:
        return False
    return left.kind == right.kind and left.kind in ("proper", "number", "date")
