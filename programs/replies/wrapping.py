"""Takes off what a whole reply is written in: entities, escapes, signs that nobody sees, JSON.

A model that was trained on pages writes `&quot;`, one that was trained on JSON writes its lines as
`\\n`, and a proxy hands on a whole reply as the value of a key of its own.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from ragwright.programs.replies.markers import END, MARKER
from ragwright.programs.replies.objects import unfenced
from ragwright.programs.replies.wanted import OutputFields, normalize_field_name

_UNSEEN = re.compile(
    r"[\u200b\u2060\ufeff\u00ad\u200e\u200f\u202a-\u202e\u2066-\u2069]"
    # These two join letters and emoji; beside other signs they do nothing.
    r"|[\u200c\u200d](?=[\s\[\]#:]|\Z)|(?<=[\s\[\]#:])[\u200c\u200d]|\A[\u200c\u200d]"
)
_LINES = re.compile(r"\r+\n?|[\v\f\u0085\u2028]")
_OPENED = r"\A\s*+(?:```\w*+\s*+)?[\[{]?\s*+"
_ENTITY = re.compile(
    rf"{_OPENED}&(?:quot|lt|lsqb|lbrack|#34|#60|#91|#x22|#x3c|#x5b);", re.IGNORECASE
)
"""A reply whose first sign of a form is an entity: all of it is written so."""
_CUT = re.compile(r"&#?\w{0,8}\Z|\\\Z")
_ESCAPED = re.compile(r"\A[^\n]{0,120}?\[\[[^\n\]]{1,60}\]\][ \t]*+\\n")
"""A marker, and behind it a line's end that is spelled."""
_DEEPEST = 4
_MOST_LEAVES = 200


def unwrapped(text: str, wanted: OutputFields, depth: int = 0) -> str:
    """Return what a model said in whatever it wrote that in."""
    said = spelled_out(text)
    inner = None if depth == _DEEPEST else _inner(said, wanted)
    return said if inner is None else unwrapped(inner, wanted, depth + 1)


def spelled_out(text: str) -> str:
    """Return a text, or the beginning of one, without entities, escapes and signs unseen."""
    said = _LINES.sub("\n", _UNSEEN.sub("", text).replace("\uff5cDSML\uff5c", ""))
    if _ENTITY.match(said):
        said = html.unescape(said)
    if _ESCAPED.match(said):
        said = said.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
    return said


def finished_reply(text: str, wanted: OutputFields) -> str:
    """Return the reply that a text is, or ends with if it is whole, down to its last marker.

    Some servers take all that a model says for thoughts where it closed none.
    """
    value = _loaded(text)
    if isinstance(value, dict) and any(
        normalize_field_name(str(name)) in wanted.called for name in value
    ):
        return text
    marks = list(islice(MARKER.finditer(text), _MOST_LEAVES))
    names = [normalize_field_name(mark[2]) for mark in marks]
    if not names or names[-1] != END or text[marks[-1].end() :].strip():
        return ""
    first = normalize_field_name(wanted.fields[0].name) if wanted.fields else ""
    places = [mark.start() for mark, name in zip(marks, names, strict=True) if name == first]
    return text[places[-1] :] if places else ""


def before_cut(text: str) -> str:
    """Leave out the end of a text that may be the beginning of an entity or an escape."""
    return _CUT.sub("", text)


def _inner(text: str, wanted: OutputFields) -> str | None:
    """The reply that is a value within a reply, or a reply that is encoded once more."""
    value = _loaded(text)
    if isinstance(value, str):
        return value
    return next((leaf for leaf in _leaves(value) if _is_marked(leaf, wanted)), None)


def _loaded(text: str) -> Any:
    """What a text is as JSON, in a fence or without; None if it is none."""
    said = unfenced(text).strip()
    if said[:1] not in ('"', "{", "["):
        return None
    try:
        return json.loads(said, strict=False)
    except (ValueError, RecursionError):
        return None


def _leaves(value: Any) -> Iterator[str]:
    """Texts within a value, as far as any are looked at."""
    todo, seen = [value], 0
    while todo and seen < _MOST_LEAVES:
        one, seen = todo.pop(0), seen + 1
        if isinstance(one, str):
            yield one
        elif isinstance(one, (dict, list)):
            todo += one.values() if isinstance(one, dict) else one


def _is_marked(text: str, wanted: OutputFields) -> bool:
    mark = MARKER.match(text.lstrip())
    return mark is not None and normalize_field_name(mark[2]) in wanted.called
