"""Reads days, whole numbers, lists and pairs as people write them.

"May 1st, 2024" and "1.5.2024" are days; what may be two ("01/05/2024") stays as it is. "[1], [2]",
"Passage 1", "1 and 3" and "passages 1-3" are whole numbers. A list may be tags one after the
other, and pairs lines of names and values.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

_DAYS = ("%B %d %Y", "%b %d %Y", "%d %B %Y", "%d %b %Y", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I %p")
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b", re.IGNORECASE)
_BESIDE = re.compile(r"[,]|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:the|of|at)\b", re.I)
_LONGEST = 60
NUMBER_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
BULLET = re.compile(r"^\s*(?:[-*•\u2013‣]|\(?\d{1,3}[.)\]:]|[a-z][.)])\s+")
_RANGE = re.compile(r"(\d{1,3})\s*(?:-|\u2013|\u2014|to|through)\s*(\d{1,3})")
_BRACKETED = re.compile(r"\[\s*(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\s*\]")
_RANGE_MOST = 50
_TAG = re.compile(r"\s*<(\w{1,40})>")
_PAIR = re.compile(
    r"^[ \t]*+(?:[-*\u2022][ \t]++)?[*_`\"']{0,3}(\w[\w -]{0,60}?)[*_`\"']{0,3}[ \t]*[:=\uff1a]"
    r"[*_`]{0,3}[ \t]*+(\S.*)$"
)


def spell_date(text: str, annotation: Any) -> str:
    """Return a written day as ISO has it, where a date is wanted; any other text as it is."""
    if annotation not in (date, datetime) or len(text) > _LONGEST:
        return text
    plain = " ".join(_BESIDE.sub(" ", _ORDINAL.sub("", text)).rstrip(".").split())
    for time in _TIMES if annotation is datetime else ("",):
        for day in _DAYS:
            try:
                found = datetime.strptime(plain, day + time)  # noqa: DTZ007 (as it is written)
            except ValueError:
                continue
            return (found if annotation is datetime else found.date()).isoformat()
    return text


def find_integers(text: str) -> list[int]:
    """Return the whole numbers that a text names, in order; those in brackets if there are any."""
    bracketed = _BRACKETED.findall(text)
    said = " ".join(bracketed) if bracketed else _unnumbered(text)
    said = _RANGE.sub(_spread, said)
    words = re.findall(r"(?<![\d.])-?\d{1,9}(?![\d%]|\.\d)|[a-z]+", said.casefold())
    return [int(word) if word not in NUMBER_WORDS else NUMBER_WORDS[word]
            for word in words if word in NUMBER_WORDS or not word.isalpha()]  # fmt: skip


def _unnumbered(text: str) -> str:
    """The lines of a numbered list without their own numbers: "1. passage 3" names the third."""
    lines = [line for line in text.splitlines() if line.strip()]
    bare = [BULLET.sub("", line) for line in lines]
    numbered = len(lines) > 1 and all(re.match(r"\s*\(?\d", line) for line in lines)
    return "\n".join(bare) if numbered and all(re.search(r"\d", one) for one in bare) else text


def _spread(found: re.Match[str]) -> str:
    first, last = int(found[1]), int(found[2])
    if not first <= last <= first + _RANGE_MOST:
        return found[0].replace("-", " ")
    return " ".join(str(number) for number in range(first, last + 1))


def listed_items(text: str) -> list[str]:
    """Return the contents of tags of one name; nothing if a text is something else, too."""
    items: list[str] = []
    opened = _TAG.match(text)
    while opened:
        close = f"</{opened[1]}>"
        end = text.find(close, opened.end())
        if end < 0:
            return []
        items.append(text[opened.end() : end].strip())
        after = _TAG.match(text, end + len(close))
        if after is None:
            return [] if text[end + len(close) :].strip() else items
        if after[1] != opened[1]:
            return []
        opened = after
    return items


def named_values(text: str) -> dict[str, str]:
    """Return the values of lines that name one each; nothing if a line does not."""
    lines = [line for line in text.splitlines() if line.strip()]
    found = [_PAIR.match(line) for line in lines]
    return {pair[1]: pair[2].strip().strip("\"'") for pair in found if pair} if all(found) else {}
