"""JSON that is read as one text in; the same out as people read it.

Letters that a program wrote as numbers (`\\u00fc`) are letters, so that they are found, and what
stands on one long line stands on several, so that it is cut between its parts. Nothing else of it
changes: no number, and no order.
"""

from __future__ import annotations

import json
import re

from ragwright.retrievers.documents.jsonl import decode_json

JSON = frozenset({".json", ".geojson", ".jsonl", ".ndjson"})
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|u[0-9a-fA-F]{4}|.)")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"(?P<key>\s*:)?|[{}\[\],]|[^\s{}\[\],"]+')
_LONG = 200
_NUMBERS = re.compile(r'(?P<place>"coordinates"\s*:\s*)?(?P<said>\[[\[\]\d\s.,eE+-]{100,}+)')
"""A list, perhaps, and what numbers follow it: where it ends is looked for afterwards, once."""
_MANY = 1000
"""Characters of a list of numbers beyond which nobody reads it: vectors, signals."""
_DEEPEST = 40


def format_json(text: str) -> str:
    """Return JSON, or lines of it, as people read it; what is no JSON as it is, or nearly so.

    >>> format_json('{"name": "M\\\\u00fcller", "quote": "\\\\u0022"}')
    '{"name": "Müller", "quote": "\\\\u0022"}'
    """
    text = readable_letters(text)
    return _over_lines(text) if _is_on_one_line(text) else text


def is_cut_json(text: str) -> bool:
    """Tell whether a text is JSON from its start and ends before it is done.

    >>> [is_cut_json(text) for text in ('{"a": [1, "b', '{"a": [1, "b"]}', "{a: 1, /* b */")]
    [True, False, False]
    """
    text = text.strip()
    if text[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text) or error.msg.startswith("Unterminated string")
    except (ValueError, RecursionError):
        pass
    return False


def without_numbers(text: str) -> tuple[str, int]:
    """Return JSON with long lists of numbers as how many there are, and how many such lists.

    Those are vectors, signals and the corners of areas on maps.

    >>> without_numbers('{"name": "Rhine", "coordinates": [' + "[6.9, 50.9], " * 20 + "[7, 51]]}")
    ('{"name": "Rhine", "coordinates": "42 numbers"}', 1)
    """
    left = 0

    def shorten(found: re.Match[str]) -> str:
        nonlocal left
        said = found["said"]
        end = _end_of_list(said)
        if end <= (_LONG // 2 if found["place"] else _MANY):
            return found[0]
        left += 1
        count = len(re.findall(r"[\d.eE+-]+", said[:end]))
        return f'{found["place"] or ""}"{count} numbers"{said[end:]}'

    return _NUMBERS.sub(shorten, text), left


def _end_of_list(text: str) -> int:
    """Return where the list ends that a text begins with; 0 if it does not."""
    depth = 0
    for sign in re.finditer(r"[\[\]]", text):
        depth += 1 if sign[0] == "[" else -1
        if not depth:
            return sign.end()
    return 0


def readable_letters(text: str) -> str:
    """Return a text with letters in the place of their numbers (`\\u00fc`)."""
    return _ESCAPE.sub(_letter, text) if "\\u" in text else text


def _is_on_one_line(text: str) -> bool:
    if len(text) <= _LONG * (text.count("\n") + 1):
        return False
    try:
        decode_json(text)
    except ValueError:
        return False
    return True


def _letter(escape: re.Match[str]) -> str:
    """Return the letter that an escape is; what JSON has to escape stays."""
    if escape[0][1] != "u":
        return escape[0]
    try:
        letter: str = json.loads(f'"{escape[0]}"')
    except ValueError:
        return escape[0]
    return letter if letter.isprintable() and letter not in '"\\' else escape[0]


def _over_lines(text: str) -> str:
    """Begin a line before every key, and before every object or list in a list."""
    made: list[str] = []
    depth, before = 0, ""
    for token in _TOKEN.finditer(text):
        said = token[0]
        if token["key"] or (said in "{[" and before in {",", "["}):
            made.append("\n" + " " * min(depth, _DEEPEST))
        elif before == ",":
            made.append(" ")
        made.append(f"{said} " if token["key"] else said)
        depth += (said in "{[") - (said in "}]")
        before = said
    return "".join(made)


__all__ = ["JSON", "format_json", "is_cut_json", "readable_letters"]
