"""Splits text into words, characters and sentences, and finds where it may be cut.

Word and character boundaries are those of UAX #29, sentence ends those of the property
Sentence_Break: a full stop of scripts that write spaces ends a sentence only before white space,
any other terminator wherever it stands. Offsets count characters (code points).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

import regex

from ragwright.retrievers.text.normal import normalize_text

UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    r"\p{Tibetan}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Balinese}\p{Javanese}"
)
"""Scripts without spaces between words, for a character class."""

SYLLABIC = UNSPACED + r"\p{Hangul}\u30fc\uff70"
"""Scripts whose text is compared by characters: Korean glues particles to its words."""

SENTENCE_END = (
    r"(?<=[.!?])\s+"
    r"|[\p{Sentence_Break=STerm}\uff0e\uff61\u2026--[!?]][\p{Pe}\p{Pf}\uff02\uff07\"']*\s*"
)
"""Matches end where the next sentence starts."""

CLAUSE_END = r"(?<=[,;:])\s+|[\u3001\uff0c\uff1b\uff1a\u060c\u061b\u104a]\s*"
"""Matches end where the next clause starts."""

_SENTENCE = regex.compile(SENTENCE_END, regex.V1)
_CLOSED = regex.compile(
    r"[.!?]['\")\]\p{Pe}\p{Pf}]*(?=\s|$)"
    r"|[\p{Sentence_Break=STerm}\uff0e\uff61--[!?]][\p{Pe}\p{Pf}\uff02\uff07\"']*",
    regex.V1,
)
_WORD = regex.compile(
    rf"[{SYLLABIC}]\p{{M}}*|(?:(?![{SYLLABIC}])[\p{{L}}\p{{N}}\p{{M}}])+", regex.V1
)
_ARTICLE = regex.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = regex.compile(r"[\p{P}$+<=>^`|~]+")
_DIGIT = regex.compile("[0-9]")
_THOUSANDS = regex.compile(
    r"(?<![\d.,])[0-9]{1,3}(?:[,\u066c][0-9]{3})+(?![0-9])|(?<![\d.,])[0-9]{1,3}(?:\.[0-9]{3}){2,}(?![\d.])"
    r"|(?<![\d.,])[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])"
)
_SPACED = regex.compile(
    r"(?<![\p{N}.,])(?:\p{Nd}{1,3}(?:[\u00a0\u2009\u202f]\p{Nd}{3})+|[1-9]\d{0,2}(?: \d{3})+)"
    r"(?!\p{Nd})"
)
_THIN = regex.compile(r"[ \u00a0\u2009\u202f]")
_GROUP = regex.compile(r"[,.\u066c]")
_POINT = regex.compile(r"(?<=[0-9])[.,\u066b](?=[0-9])")
_BETWEEN = regex.compile(r"(?<=[0-9])(?:[:/-]|\^-?)(?=[0-9])")
_MINUS = regex.compile(r"(?<![\p{L}\p{N}\p{Pe}.,])-(?=[0-9])")
_SIGNED = regex.compile(r"(?<![\p{L}\p{N}])\p{L}(?:\+\+|#)(?!\p{L})")
_HIDDEN = str.maketrans({"+": "\ue002", "#": "\ue003"})
_RESTORED = str.maketrans({"\ue000": ".", "\ue001": "-", "\ue002": "+", "\ue003": "#"})
_CHARACTER = regex.compile(rf"[{SYLLABIC}]\p{{M}}*", regex.V1)
_CUT = regex.compile(r"\b(?![\p{Po}\p{Pe}\p{Pf}\p{M}])|(?=\s)", regex.V1 | regex.WORD)
_GRAPHEME = regex.compile(r"\X", regex.V1)

_CLUSTER = regex.compile(r"\p{L}\p{M}*|\p{M}+")
_LONGEST_CLUSTER = 32
REACHES = (48, 400)
"""How far before a wanted place a boundary is looked for: nearby first."""


def normalized_words(text: str) -> list[str]:
    """Return the words that two texts are compared by, in their normal form.

    Where a script writes no spaces, and in Korean, a character is a word, as in the evaluation of
    MLQA (Lewis et al., 2020) and KorQuAD (Lim et al., 2019).

    >>> normalized_words("It's 三十天, ok")
    ['it', 's', '三', '十', '天', 'ok']
    """
    found: list[str] = _WORD.findall(normalize_text(text))
    return found


def answer_words(text: str) -> list[str]:
    """Return the words that two answers are compared by.

    As in SQuAD (Rajpurkar et al., 2016), on the normal form: without punctuation and articles. A
    text of nothing else stands for itself, so that "+" and "-" are answers. Other than there, what
    tells numbers and names apart stays: a decimal point, a minus, the signs of C++ and C#; numbers
    with `:`, `/` or `-` between them are several.

    >>> answer_words("The “U.S.”"), answer_words("+"), answer_words("三十天。")
    (['us'], ['+'], ['三', '十', '天'])
    >>> answer_words("-1,299.50"), answer_words("3,5 %"), answer_words("10:30"), answer_words("C#")
    (['-1299.50'], ['3.5'], ['10', '30'], ['c#'])
    """
    plain = normalize_text(_SPACED.sub(lambda match: _THIN.sub("", match[0]), text))
    bare = _ARTICLE.sub(" ", _PUNCTUATION.sub("", _told_apart(plain))).translate(_RESTORED)
    return _CHARACTER.sub(r" \g<0> ", bare).split() or plain.split()


def _told_apart(plain: str) -> str:
    """Put characters for private use in place of the signs that tell numbers and names apart."""
    if _DIGIT.search(plain):
        plain = _THOUSANDS.sub(lambda match: _GROUP.sub("", match[0]), plain)
        plain = _POINT.sub("\ue000", plain)
        plain = _MINUS.sub("\ue001", _BETWEEN.sub(" ", plain))
    return _SIGNED.sub(lambda match: match[0].translate(_HIDDEN), plain)


def has_words(text: str, wanted: str) -> bool:
    """Tell whether a text holds words in a row; what has no words ("+") is looked for as it is."""
    asked = normalized_words(wanted)
    if asked:
        return f" {' '.join(asked)} " in f" {' '.join(normalized_words(text))} "
    return bool(wanted.strip()) and normalize_text(wanted).strip() in normalize_text(text)


def sentence_ends(text: str) -> list[int]:
    """Return where the sentences of a text end and the next one starts, ascending."""
    return [m.end() for m in _SENTENCE.finditer(text) if 0 < m.end() < len(text)]


def cut_at_sentence(text: str, place: int) -> str:
    """Return the beginning of a text up to a place at most, after a whole sentence.

    If there is none, it ends after a whole word.
    """
    if place >= len(text):
        return text
    ends = [m.end() for m in _CLOSED.finditer(text[: place + 1]) if m.end() <= place]
    return text[: ends[-1] if ends else cut_before(text, place)].rstrip()


def cut_before(text: str, place: int, after: int = 0) -> int:
    """Return the last place up to a wanted one, past `after`, that lies inside no word.

    A word longer than the room is cut between characters as readers see them (grapheme clusters),
    and a cluster that is longer, at the wanted place itself.
    """
    if place >= len(text):
        return len(text)
    for reach in REACHES:
        first = max(after, place - reach)
        window = text[first : place + reach]
        found = first + _last([match.start() for match in _CUT.finditer(window)], place - first)
        found = cluster_before(text, found)  # words of Khmer are told less well than clusters
        if found > after and (found > first or reach == REACHES[-1]):
            return found
    found = cluster_before(text, place)
    return found if found > after else place


def cluster_before(text: str, place: int) -> int:
    """Return the last place up to a wanted one that lies inside no character as readers see it."""
    if place >= len(text) or text[place].isascii():
        return place
    first = max(0, place - _LONGEST_CLUSTER)
    starts = [match.start() for match in _GRAPHEME.finditer(text[first : place + _LONGEST_CLUSTER])]
    return first + _last(starts, place - first)


def _last(places: list[int], wanted: int) -> int:
    at = bisect_right(places, wanted) - 1
    return places[at] if at >= 0 else 0


def clusters(run: str) -> list[str]:
    """Return the characters of a run, each with its marks.

    >>> clusters("\u90fd\u5e02")
    ['\u90fd', '\u5e02']
    """
    found: list[str] = _CLUSTER.findall(run)
    return found


def grams(run: str) -> Iterator[str]:
    """Yield the characters of a run and its bigrams."""
    found = clusters(run)
    yield from found
    yield from (first + second for first, second in pairwise(found))
