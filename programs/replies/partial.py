"""Tells how much of an answer can be shown while its reply is still being written.

What might turn out to be a marker, a label, a thought or the prompt's form is held back until it is
clear. Whatever is shown is, for every reply that keeps to a form, a beginning of what `read` takes
for the answer once the reply is whole.
"""

from __future__ import annotations

import json
import re

from ragwright.programs.replies.labels import (
    ANY_END,
    bare_text,
    before_box,
    label_pattern,
    spelled,
    split_labels,
)
from ragwright.programs.replies.markers import (
    ReplySection,
    before_marker,
    first_is_mention,
    marker_sections,
)
from ragwright.programs.replies.no_answer import announces_answer, is_template
from ragwright.programs.replies.objects import begins_call, opens_json_object
from ragwright.programs.replies.thoughts import unfinished_tag, without_thoughts
from ragwright.programs.replies.wanted import OutputField, OutputFields, normalize_field_name
from ragwright.programs.replies.wrapping import before_cut, spelled_out

_NUMBER = re.compile(r"\A\s*\d{1,2}[.)]\s*")
"""Of a list, whose first item may be a label."""
_HELD = " \t\r\n*_`#>"
_UNCLEAR = 48
"""Signs after which a value that begins with a bracket is no template any more."""
_SURROGATE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\Z")
_CUT_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")
_FORMS = tuple('[{<`*#|~\u3010\uff3b\\"')
"""What a reply in some form may begin with."""
_ROLES = ("q", "a", "question", "assistant", "the", "final", "short", "my")
"""Words that a reply without any form may begin with, before its answer."""


def certain_beginning(text: str, wanted: OutputFields, name: str, *, plain: bool = False) -> str:
    """Return the beginning of a field's value that is certain.

    Args:
        text: What has been written.
        wanted: The fields of the reply.
        name: The field that is shown.
        plain: Whether the model was asked for nothing but this field.
    """
    text = spelled_out(before_cut(text))
    said = without_thoughts(text[: unfinished_tag(text)], keep=wanted.names)
    one = next(field for field in wanted.fields if field.name == name)
    if opens_json_object(said):
        return _of_object(said, one)
    marked = marker_sections(before_marker(said, wanted), wanted)
    if len(marked) > 1 and first_is_mention(said):
        return ""
    for place, section in enumerate(marked):
        meant = wanted.called.get(section.name) is one
        if meant and section.text and not is_template(section.text, one):
            return _shown(section, wanted, one, whole=place < len(marked) - 1)
    if plain and len(marked) == 1 and not said.lstrip().startswith(_FORMS):
        return _unlabelled(marked[0].text, wanted, one)
    return ""


def _shown(section: ReplySection, wanted: OutputFields, one: OutputField, *, whole: bool) -> str:
    text = section.text
    if opens_json_object(text) or text.startswith("```") or (not whole and text.startswith("{")):
        return ""
    if not whole and text[:1] in "<[(" and len(text) < _UNCLEAR:
        return ""
    if not whole and (
        not text.strip(".… ")
        or announces_answer(text, one, begun=True)
        or _begins_label(text, wanted, one)
    ):
        return ""
    return _before_label(bare_text(before_box(text), one, wanted), wanted, one)


def _begins_label(text: str, wanted: OutputFields, one: OutputField) -> bool:
    """Whether all that was written may be the beginning of a label of the field itself."""
    begun = normalize_field_name(text)
    return "\n" not in text and any(
        normalize_field_name(name).startswith(begun) for name in spelled(wanted, one)
    )


def _before_label(text: str, wanted: OutputFields, one: OutputField) -> str:
    """Leave out lines that begin with the label of another field."""
    others = tuple(f for f in wanted.fields if f is not one)
    return split_labels(text, wanted, others, alone=False)[0].rstrip(_HELD)


def _unlabelled(text: str, wanted: OutputFields, one: OutputField) -> str:
    """A text without any form, once it is clear that it begins with no label of its own."""
    begun, names = normalize_field_name(_NUMBER.sub("", text)), spelled(wanted, one)
    if len(begun) < len(normalize_field_name(one.name)) + 34 and "\n" not in text:
        starts = (*_ROLES, *map(normalize_field_name, names))
        if any(start.startswith(begun) or begun.startswith(start) for start in starts):
            return ""
    labelled = label_pattern(names, ANY_END).search(text) or begins_call(text, wanted)
    if labelled or announces_answer(text, one, begun=True):
        return ""
    return _before_label(bare_text(before_box(text), one, wanted), wanted, one)


def _of_object(text: str, one: OutputField) -> str:
    """The beginning of a string in a JSON object that is still being written."""
    key = re.compile(rf"[\"']{re.escape(one.name)}[\"']\s*:\s*([\"'])", re.IGNORECASE)
    for opened in key.finditer(text):
        raw, whole = _string(text, opened.end(), opened[1])
        value = _decoded(raw, opened[1])
        unclear = value[:1] in "{<[(" and len(value) < _UNCLEAR
        if not whole and (unclear or announces_answer(value, one, begun=True)):
            return ""
        if value.strip() and not is_template(value, one):
            return value.strip()
    return ""


def _string(text: str, start: int, quote: str) -> tuple[str, bool]:
    place = start
    while place < len(text):
        if text[place] == "\\":
            place += 2
            continue
        if text[place] == quote:
            return text[start:place], True
        place += 1
    return text[start:], False


def _decoded(raw: str, quote: str) -> str:
    raw = _SURROGATE.sub("", raw)
    cut = _CUT_ESCAPE.search(raw)
    raw = raw[: cut.start(1)] if cut and len(cut[1]) else raw
    raw = _SURROGATE.sub("", raw)
    if quote == "'":
        raw = raw.replace("\\'", "'").replace('"', '\\"')
    try:
        return str(json.loads(f'"{raw}"', strict=False))
    except ValueError:
        return ""
