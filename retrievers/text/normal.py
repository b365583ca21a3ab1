"""The one normal form that texts are compared in: what looks or reads the same is the same.

Compatibility forms (full width, ligatures) are resolved (NFKC), case is folded, accents and vowel
signs that writers leave out are removed, quotes and dashes have one form each, and characters that
cannot be seen are gone. Knows nothing of words.
"""

from __future__ import annotations

import sys
import unicodedata

import regex

from ragwright.retrievers.remembering import remember_within

_MARKS = regex.compile(
    r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"  # accents
    r"\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew points
    r"\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u08d3-\u08ff"
    r"\u0711\u0730-\u074a\u093c\u09bc\u0a3c\u0abc\u0b3c\u0cbc]"  # Arabic, Syriac, nuktas
)
"""Signs that are left out as often as not. Vowel signs of Indic and Thai scripts are no such: a
word without them is another word."""

_DIGIT = regex.compile(r"(?![0-9])\p{Nd}")
_RAISED = regex.compile(r"\p{Nd}(?=[⁰¹²³⁴-⁹⁺⁻])")
_BESIDE = regex.compile(r"\p{Nd}(?=\p{No})")
"""Digits before a power or a fraction, which NFKC makes digits like them: 10⁶ is not 106."""
_NASAL = regex.compile(
    r"\u0919\u094d(?=[\u0915-\u0918])|\u091e\u094d(?=[\u091a-\u091d])"
    r"|\u0923\u094d(?=[\u091f-\u0922])|\u0928\u094d(?=[\u0924-\u0927])"
    r"|\u092e\u094d(?=[\u092a-\u092d])"
)
"""A nasal of Devanagari before a consonant of its row, for which a dot is written as often."""

_UNSEEN = regex.compile(r"[\p{Cf}\p{Variation_Selector}\u034f\u115f\u1160\u3164\uffa0]+")
_LETTERS = str.maketrans(
    {
        "đ": "d", "ð": "d", "ø": "o", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe", "ħ": "h",
        "ŧ": "t", "þ": "th",
        **dict.fromkeys("\u0900\u0901", "\u0902"), "\u0981": "\u0982", "\u0a81": "\u0a82",
        "\u0b01": "\u0b02", "\u0c00": "\u0c02", "\u0c80": "\u0c82",  # the moon with a dot
        "ک": "ك", "ی": "ي", "ى": "ي", "ھ": "ه", "ہ": "ه",
    }
)  # fmt: skip
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u2035\u02bc\u02b9\u00b4\u2039\u203a", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb", '"'),
        **dict.fromkeys("\u300c\u300d\u300e\u300f\u05f4", '"'), "\u05f3": "'",
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\ufe58\ufe63", "-"),
        "\u3002": ".", "\uff61": ".", "\u3001": ",", "\u2044": "/", "\u30fb": " ",
    }
)  # fmt: skip
_LINK = regex.compile(
    r"!?\[([^\[\]\n]{0,1000})\]\((?:[^()\s]|\([^()\s]*\)){0,2000}+[^()\n]{0,200}\)"
)
_BULLET = regex.compile(r"(?m)^[ \t]{0,12}(?:[-*+•]|\d{1,4}[.)])[ \t]+")
_RULED = regex.compile(r"(?m)^[ \t|:=~-]{3,}$")
_MARKDOWN = str.maketrans(dict.fromkeys(r"*_`~\#|>", ""))
_JOINED_LINES = regex.compile(
    r"(?<=[\p{Han}\p{Hiragana}\p{Katakana}\p{Po}])\s+(?=[\p{Han}\p{Hiragana}\p{Katakana}])"
)


def compose_visible(text: str) -> str:
    """Return the NFKC form without characters that cannot be seen; case and accents stay."""
    if text.isascii():
        return text
    # Before: NFKC makes a space and a mark of some quotes. After: it makes quotes of others.
    seen = _UNSEEN.sub("", text).translate(_SIGNS)
    seen = _BESIDE.sub(r"\g<0> ", _RAISED.sub(r"\g<0>^", seen))
    plain = unicodedata.normalize("NFKC", seen).translate(_SIGNS)
    # `regex` may know digits of a later Unicode than Python does: they stay as they are.
    return _DIGIT.sub(lambda match: str(unicodedata.decimal(match[0], match[0])), plain)


def strip_accents(text: str) -> str:
    """Return a text without accents, vowel signs that may be left out, and letters' strokes."""
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFKD", text)
    plain = _NASAL.sub("\u0902", _MARKS.sub("", apart).translate(_LETTERS))
    return unicodedata.normalize("NFKC", plain)


def normalize_text(text: str) -> str:
    """Return the normal form of a text; white space stays as it is.

    >>> normalize_text("Ｇｅｎè\\u00adve – ﬁn")
    'geneve - fin'
    """
    if text.isascii():
        return text.lower()
    return strip_accents(compose_visible(text).casefold())


@remember_within(1 << 23, sys.getsizeof)
def normalize_quotation(text: str) -> str:
    """Return what a quotation is compared by: the normal form of what a reader sees of a text.

    Marks of Markdown and the escapes that conversion adds are removed, links are their text, and
    white space is one space (none between characters of Chinese and Japanese).
    """
    seen = plain = normalize_text(text)
    if "](" in plain:
        plain = _LINK.sub(r"\1", plain)
    plain = _RULED.sub(" ", _BULLET.sub("", plain)).translate(_MARKDOWN)
    plain = " ".join(plain.split())
    # What consists of marks alone is not nothing, which would stand in every text.
    plain = plain or " ".join(seen.split())
    return plain if plain.isascii() else _JOINED_LINES.sub("", plain)
