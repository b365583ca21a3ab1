"""Rejoins words and numbers that were written apart, behind the text as it stands.

Parts of Persian words, groups of digits with spaces between them (1 250 000, DE89 3704 0044) and
words that go on in the next line are asked for in one piece as often. Knows no terms.
"""

from __future__ import annotations

import re

import regex

ZWNJ = "\u200c"
_HALF_SPACED = regex.compile(
    r"(?:(?<![\p{Arabic}\p{M}])|\G)\p{M}*+\K"
    r"\p{Arabic}[\p{Arabic}\p{M}]*+(?:\u200c[\p{Arabic}\p{M}]++)+"
)
"""Persian words whose parts stand apart by less than a space, and by one as often."""
_GROUPED = re.compile(
    r"(?<![\w.,])(?:[1-9][0-9]{0,2}(?:[ \u00a0\u2009\u202f][0-9]{3}){1,6}"
    r"|[A-Z]{2}[0-9]{2}(?:[ \u00a0][A-Z0-9]{4}){2,7}(?:[ \u00a0][A-Z0-9]{1,3})?"
    r"|[0-9]{4}(?:[ \u00a0][0-9]{4}){2,4})(?![0-9A-Za-z])"
)
"""Numbers by thousands, and those of bank accounts and cards by four signs."""
_APART = re.compile(r"[0-9][ \u00a0\u2009\u202f][0-9]{3}")
"""Stands in each of these, and is told sooner."""
_BROKEN = regex.compile(r"(?:(?<!\p{L})|\G)(\p{L}{2,}+)[-\u2010\u00ad]\n[ \t]*+(\p{Ll}+)")
"""A word from its start, so that a run of letters without end is looked at once."""


def rejoin_words(text: str) -> str:
    """Return a text with the wholes of what stands apart in it.

    >>> rejoin_words("12 500 people"), rejoin_words("docu-\\nmentation")
    ('12 500 12500 people', 'docu-\\nmentation documentation')
    """
    if ZWNJ in text:
        text = _HALF_SPACED.sub(
            lambda match: f"{match[0]} {match[0].replace(chr(0x200C), ' ')}", text
        )
    if "\n" in text:
        text = _BROKEN.sub(r"\g<0> \1\2", text)
    if _APART.search(text):
        text = _GROUPED.sub(lambda match: f"{match[0]} {''.join(match[0].split())}", text)
    return text
