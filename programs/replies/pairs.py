"""Reads what was written as lines of names and values, or as tags one after the other."""

from __future__ import annotations

import re

_TAG = re.compile(r"\s*<(\w{1,40})>")
_PAIR = re.compile(
    r"^[ \t]*+(?:[-*\u2022][ \t]++)?[*_`\"']{0,3}(\w[\w -]{0,60}?)[*_`\"']{0,3}[ \t]*[:=\uff1a]"
    r"[*_`]{0,3}[ \t]*+(\S.*)$"
)


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
