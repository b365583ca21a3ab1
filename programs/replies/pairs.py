"""Reads what was written as lines of names and values, or as tags one after the other."""

from __future__ import annotations

import re

_ITEM = re.compile(r"<(\w{1,40})>\s*(.*?)\s*</\1>", re.DOTALL)
_PAIR = re.compile(
    r"^[ \t]*+(?:[-*\u2022][ \t]++)?[*_`\"']{0,3}(\w[\w -]{0,60}?)[*_`\"']{0,3}[ \t]*[:=\uff1a]"
    r"[*_`]{0,3}[ \t]*+(\S.*)$"
)


def listed_items(text: str) -> list[str]:
    """Return the contents of tags of one name; nothing if a text is something else, too."""
    found = list(_ITEM.finditer(text))
    alike = len({item[1] for item in found}) == 1
    return [item[2] for item in found] if alike and not _ITEM.sub("", text).strip() else []


def named_values(text: str) -> dict[str, str]:
    """Return the values of lines that name one each; nothing if a line does not."""
    lines = [line for line in text.splitlines() if line.strip()]
    found = [_PAIR.match(line) for line in lines]
    return {pair[1]: pair[2].strip().strip("\"'") for pair in found if pair} if all(found) else {}
