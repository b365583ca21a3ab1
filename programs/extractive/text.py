"""Splits text into sentences and words.

Comes in: a passage, possibly reflowed documentation (line breaks inside sentences, bullets, ruled
headings, code). Goes out: `Sentence`s made of `Word`s, each word with the flags that ranking and
span choice read. Knows no question and no score. Everything here is pure; what is kept of passages
is bounded by its bytes, and a word that was met before is the same object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from ragwright.retrievers.remembering import remember_within, remember_words


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


STOP_WORDS = _set(
    """
    a about above after again against all also although am an and any are as at be because been
    before being below between both but by can cannot could did do does doing down during each
    either else etc even ever every few for from further had has have having he her here hers him
    his how however i if in into is it its itself just may me might more most much must my neither
    no nor not now of off on once only onto or other otherwise our out over own per rather same
    shall she should since so some such than that the their them then there therefore these they
    this those though through thus to too toward towards under until up upon us very via was we
    were what when where whereas whether which while who whom whose why will with within without
    would yet you your
    """
)
NEGATIONS = _set("no not never cannot none neither nor without n't isn't doesn't don't")
NUMBER_WORDS = _set(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety
    hundred thousand million billion trillion dozen half once twice
    """
)
MONTHS = _set(
    """
    january february march april may june july august september october november december monday
    tuesday wednesday thursday friday saturday sunday
    """
)

_WORD = re.compile(r"[$£€@]?\w+(?:[.,'\u2019\-\u2013:/]\w+)*(?:\(\))?%?|[^\w\s]")
_LETTERS = re.compile(r"[A-Za-z]")
_CODE = re.compile(r"_|\(\)$|\w\.[a-zA-Z_]\w*\.?|^[a-z]+[A-Z]|^@")
_INITIALS = re.compile(r"^(?:[A-Za-z]\.)+[A-Za-z]?$")
_EXCEPTION = re.compile(r"^(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Warning)$")
_YEAR = re.compile(r"^(?:1\d|20)\d\ds?$")
_SUFFIX = re.compile(r"(?:'s|\u2019s|ations?|ings?|edly|ed|ies|ly|es|s|e|y)$")
_NUMBERED = re.compile(r"^\s*\[\d+\]\s+")
_RULE = re.compile(r"^\s*([=*~^\-#])\1{2,}\s*$")
_EMPHASIS = re.compile(r"(?<![\w*])\*(\w(?:[\w .\-]*\w)?)\*(?![\w*])")
_BULLET = re.compile(r"^\s*(?:[*•\-]|\d+[.)])\s+")
_END = re.compile(
    r"[.!?][\"')\]\u201d\u2019]*\s+(?=[\"'(\[\u201c\u2018`*_]*(?:[^\W_a-z]|[_`]))"
    r"|[\u3002\uff01\uff1f\u0964\u06d4\u061f][\u201d\u2019\u300d\u300f]*\s*"
)
_ABBREVIATION = re.compile(
    r"\b(?:[A-Z]|e\.g|i\.e|etc|vs|cf|Mr|Mrs|Ms|Dr|St|Jr|Sr|No|Fig|Inc|Ltd|Co|Gen|Col|Prof)\.$"
)


@dataclass(frozen=True, slots=True)
class Word:
    """One word or punctuation mark of a sentence.

    Attributes:
        stem: Lower-cased and stripped of its ending; what two words are compared by.
        kind: "mark", "stop", "exception", "code", "date", "number", "proper" or "plain".
    """

    text: str
    stem: str
    kind: str

    @property
    def content(self) -> bool:
        """Whether it is neither a stop word nor a mark."""
        return self.kind not in ("stop", "mark")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence (or heading, bullet, block of code) on one line."""

    text: str
    words: tuple[Word, ...]
    stems: frozenset[str]


_END_MARK = Word("", "", "mark")

SENTENCE_BYTES = 1 << 23
"""Of passages that were split: some 700 of a thousand characters."""

LINES = 256
"""The same lines are split several times for one answer."""


def stem(word: str) -> str:
    """Cut a common English ending off a lower-cased word, leaving at least three letters."""
    lowered = word.lower().rstrip("()")
    shorter = _SUFFIX.sub("", lowered)
    return shorter if len(shorter) >= 3 and _LETTERS.search(shorter) else lowered


def content_stems(text: str) -> frozenset[str]:
    """Return the stems of the words that are neither stop words nor punctuation."""
    return frozenset(word.stem for word in split_words(text) if word.content)


@lru_cache(maxsize=LINES)
def split_words(text: str) -> tuple[Word, ...]:
    """Split one line into words and punctuation marks."""
    found: list[Word] = []
    for token in _WORD.findall(text):
        # A capital says nothing at the start of a sentence, unless a name follows.
        opening = not found or found[-1].text in {".", ":"}
        found.append(_opening(token) if opening else _inside(token))
    return tuple(
        _name(word.text)
        if word.kind == "plain" and word.text[0].isupper() and after.kind == "proper"
        else word
        for word, after in pairwise([*found, _END_MARK])
    )


@remember_words
def _opening(token: str) -> Word:
    return Word(token, stem(token), _kind(token, opening=True))


@remember_words
def _inside(token: str) -> Word:
    return Word(token, stem(token), _kind(token, opening=False))


@remember_words
def _name(token: str) -> Word:
    return Word(token, stem(token), "proper")


def _kind(token: str, *, opening: bool) -> str:
    lowered = token.lower()
    tests = (
        ("mark", not re.search(r"\w", token)),
        ("exception", _EXCEPTION.match(token)),
        ("date", _YEAR.match(token) or (lowered in MONTHS and token[0].isupper())),
        ("number", token.strip("$£€@")[:1].isdigit() or lowered in NUMBER_WORDS),
        ("stop", lowered in STOP_WORDS),
        ("code", _CODE.search(token) and not _INITIALS.match(token)),
        ("proper", token[0].isupper() and not opening),
    )
    return next((kind for kind, holds in tests if holds), "plain")


def _bytes_of(sentences: tuple[Sentence, ...]) -> int:
    """About; the passage itself is its key, and long words are nobody else's."""
    return 500 + sum(
        400 + 2 * len(one.text) + 8 * len(one.words) + 70 * len(one.stems) for one in sentences
    )


@remember_within(SENTENCE_BYTES, _bytes_of)
def split_sentences(passage: str) -> tuple[Sentence, ...]:
    """Split a passage into its sentences, in order, without a leading "[n] "."""
    lines = [line for block in _blocks(_NUMBERED.sub("", passage)) for line in _split(block)]
    made = (Sentence(line, split_words(line), content_stems(line)) for line in lines)
    return tuple(sentence for sentence in made if sentence.stems)


def _blocks(passage: str) -> list[str]:
    """Undo the reflow: one line per paragraph, bullet or heading."""
    blocks: list[list[str]] = [[]]
    for line in passage.splitlines():
        if not line.strip() or _RULE.match(line):
            blocks.append([])
            continue
        if _BULLET.match(line):
            blocks.append([])
        blocks[-1].append(_BULLET.sub("", line).strip())
    return [_EMPHASIS.sub(r"\1", " ".join(block)) for block in blocks if block]


def _split(block: str) -> list[str]:
    cuts = [0]
    for match in _END.finditer(block):
        if not _ABBREVIATION.search(block[: match.start() + 1]):
            cuts.append(match.end())
    return [block[start:end].strip() for start, end in pairwise([*cuts, len(block)])]
