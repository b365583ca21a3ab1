"""Reads whole numbers as people name them: "[1], [2]", "Passage 1", "1 and 3", "passages 1-3"."""

from __future__ import annotations

import re

NUMBER_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
BULLET = re.compile(r"^\s*(?:[-*•\u2013‣]|\(?\d{1,3}[.)\]:]|[a-z][.)])\s+")
_RANGE = re.compile(r"(\d{1,3})\s*(?:-|\u2013|\u2014|to|through)\s*(\d{1,3})")
_BRACKETED = re.compile(r"\[\s*(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\s*\]")
_RANGE_MOST = 50


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
