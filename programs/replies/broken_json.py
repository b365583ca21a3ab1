"""Finds the JSON objects and arrays in a text, and repairs those that are broken or cut."""

from __future__ import annotations

import json
import re
from typing import Any

import json_repair

_BRACKET = re.compile(r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)|[\[{]|[\]}]', re.DOTALL)
"""A string, so that what stands in one counts for nothing, or a bracket."""
_DEEPEST = 64
"""Brackets within brackets that are read; repairing deeper ones takes time without end."""
LONGEST_REPAIR = 8_000
"""Signs of broken JSON that are repaired, which takes time by the square."""
_MOST_OBJECTS = 200
_EQUALS = re.compile(r"([{,]\s*\"[^\"\n]{1,60}\"\s*)[=\uff1a]\s*")
_CURVED = re.compile(r"(?<=[{,:\[])(\s*)[\u201c\u201d]|[\u201c\u201d](?=\s*[:,}\]])")
_WIDE_COMMA = re.compile(r"([\"\]\d])\s*\uff0c\s*(?=\")")


def parse_json_objects(text: str) -> list[Any]:
    """Return the JSON objects and arrays of a text, in order; broken and cut ones as repaired."""
    found = []
    for piece in _pieces(text)[:_MOST_OBJECTS]:
        value = _loaded(piece)
        if isinstance(value, (dict, list)) and value:
            found.append(value)
    return found


def nests_too_deep(text: str) -> bool:
    """Whether a text has more brackets within brackets than are read.

    One that is never closed nests all that follows.
    """
    depth = 0
    for part in _BRACKET.findall(text):
        if part in ("[", "{"):
            depth += 1
            if depth > _DEEPEST:
                return True
        elif part in ("]", "}"):
            depth = max(depth - 1, 0)
    return False


def _pieces(text: str) -> list[str]:
    """The balanced stretches between brackets of a text; the last one may be cut short."""
    pieces, start, depth, quote, escaped = [], -1, 0, "", False
    for place, sign in enumerate(text):
        if quote:
            if sign == quote and not escaped:
                quote = ""
            escaped = sign == "\\" and not escaped
        elif depth and sign == '"':
            quote = sign
        elif sign in "{[":
            start, depth = (place, 1) if not depth else (start, depth + 1)
        elif sign in "}]" and depth:
            depth -= 1
            if not depth:
                pieces.append(text[start : place + 1])
    return [*pieces, text[start:]] if depth else pieces


def _loaded(piece: str) -> Any:
    if nests_too_deep(piece):
        return None
    try:
        return json.loads(piece)
    except (ValueError, RecursionError):
        pass
    piece = piece[:LONGEST_REPAIR]
    if re.match(r'\{\s*\\"', piece):
        piece = piece.replace('\\"', '"')
    if '"' not in piece:
        piece = _CURVED.sub(r'\1"', piece)
    piece = _WIDE_COMMA.sub(r"\1, ", _EQUALS.sub(r"\1: ", piece))
    try:
        return json_repair.loads(piece)
    except (ValueError, RecursionError):
        return None
