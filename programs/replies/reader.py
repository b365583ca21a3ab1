"""Finds the values that are wanted in the text of a reply, wherever and however they stand.

Ways of writing a reply, each tried for what the ways before it have not given: DSPy's markers
(`markers`), a JSON object or a call (`objects`), labels, tags and tables (`labels`), and the whole
text. A field that is repeated counts where it is first filled: what comes before is the prompt's
form given back, what comes after is made up. Knows nothing of language models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ragwright.programs.replies.broken_json import parse_json_objects
from ragwright.programs.replies.labels import bare_text, split_labels, tabled, tagged
from ragwright.programs.replies.markers import END, ReplySection, marker_sections, uncut
from ragwright.programs.replies.no_answer import is_echo, is_program, is_template
from ragwright.programs.replies.objects import (
    called_in,
    flat,
    held,
    holder_of,
    is_sound_json,
    of_schema,
    opens_json_object,
    other_holders,
    unfenced,
)
from ragwright.programs.replies.thoughts import unfinished_tag, without_thoughts
from ragwright.programs.replies.values import read_value
from ragwright.programs.replies.wanted import (
    SHARES,
    OutputField,
    OutputFields,
    normalize_field_name,
)
from ragwright.programs.replies.wrapping import unwrapped

How = Literal["chat", "json", "salvaged", "plain"]
HOWS: tuple[How, ...] = ("chat", "json", "salvaged", "plain")

_INLINE = re.compile(r"\[(\d{1,3})\]")
LONGEST = 200_000
"""Signs of a reply that are read, thoughts not counted; a loop that a model fell into is longer."""
_LONGEST_RAW = 2_000_000
_SPOKEN_LABELS = re.compile(
    r"\A\W*Q(?:uestion)?\W{0,3}:.*\n{1,3}\W{0,9}A\W{0,3}:\s*", re.IGNORECASE
)


class UnreadableReply(ValueError):
    """Nothing that is wanted can be made of a reply; says why."""


@dataclass(frozen=True)
class ReplyValues:
    """What was read.

    Attributes:
        values: One per wanted field.
        how: "chat" or "json" if the reply was as DSPy asks for it, "plain" if the whole text was
            taken for the answer, otherwise "salvaged".
    """

    values: Mapping[str, Any]
    how: How


@dataclass
class _Found:
    """The fields that were found so far, and how."""

    wanted: OutputFields
    values: dict[str, Any] = field(default_factory=dict)
    ways: set[str] = field(default_factory=set)
    blank: dict[str, Any] = field(default_factory=dict)
    exact: bool = True

    def offer(self, name: str, raw: Any, way: str, *, exact: bool = True) -> None:
        """Take a value for a field that has none yet, if it can be read."""
        one = self.wanted.called.get(name)
        if one is None or one.name in self.values:
            return
        raw = of_schema(raw, one.annotation)
        if (raw is None or not str(raw).strip()) and isinstance(one.default, (str, list)):
            self.blank[one.name] = one.default
        if is_template(raw, one):
            return
        exact = exact and normalize_field_name(one.name) == name
        if one.is_text and isinstance(raw, str):
            raw = bare_text(raw, one, self.wanted)
        try:
            value, strict = read_value(raw, one.annotation)
        except ValueError:
            self.exact = False
            return
        if one.required and one.is_text and not str(value).strip():
            return
        self.values[one.name] = _share(value, one)
        self.ways.add(way)
        self.exact = self.exact and strict and exact

    def leave_blank(self) -> None:
        """Take what was left empty for empty, if the reply gives another required field."""
        if any(one.name in self.values for one in self.wanted.required):
            self.values = self.blank | self.values

    def lacks(self, one: OutputField | None) -> bool:
        return one is not None and one.name not in self.values

    @property
    def missing(self) -> list[OutputField]:
        return [one for one in self.wanted.fields if one.name not in self.values]

    @property
    def complete(self) -> bool:
        return not any(one.required for one in self.missing)


def read_reply(text: str, wanted: OutputFields, *, plain: bool = False) -> ReplyValues:
    """Read a reply.

    Args:
        text: What the model wrote, thoughts and all.
        wanted: What it was asked for.
        plain: Whether it was asked for nothing but the main field. Only then is a program, which
            small models write where a form is asked for, an answer.

    Raises:
        UnreadableReply: A required field is not there, or nothing at all is.
    """
    said = unwrapped(text[:_LONGEST_RAW], wanted)
    said = without_thoughts(said, keep=wanted.names)[:LONGEST]
    said = uncut(said, wanted)
    # Nothing but the beginning of a tag is no answer.
    if not any(sign.isalnum() for sign in said[: unfinished_tag(said)]):
        raise UnreadableReply("it is empty" if not said.strip() else "it holds no words")
    found = _Found(wanted)
    marked = marker_sections(said, wanted)
    # What stands in braces or behind "answer =" inside a program is no field of a reply.
    program = is_program(said)
    if not program:
        _from_fields(found, said, marked)
    elif len(marked) > 1:
        _from_markers(found, said, marked)
    found.leave_blank()
    if (not found.complete or not found.values) and (plain or not program):
        _from_whole(found, said, marked)
    if not found.values or not found.complete:
        lost = ", ".join(repr(one.name) for one in found.missing if one.required)
        raise UnreadableReply(f"{lost or 'no field'} could not be read in it")
    return _reading(found)


def _from_fields(found: _Found, text: str, marked: list[ReplySection]) -> None:
    ways = (
        (_from_objects, _from_markers)
        if opens_json_object(text)
        else (_from_markers, _from_objects)
    )
    for way in ways:
        way(found, text, marked)
    if not found.complete and not opens_json_object(text):
        for section in marked:
            _from_labels(found, unfenced(section.text))


def _share(value: Any, one: OutputField) -> Any:
    """Bring a number that is a share and was given in per cent into its range."""
    is_number = isinstance(value, float) and one.name.lower() in SHARES
    return value / 100 if is_number and 1 < value <= 100 else value


def _from_markers(found: _Found, text: str, marked: list[ReplySection]) -> None:
    called = found.wanted.called
    known = {*called, *map(normalize_field_name, found.wanted.inputs), END}
    cut = marked[1:]
    if cut and not any(one.name in known - {END} for one in cut):
        # Markers in another language: they stand in the order that was asked for.
        strange = [section for section in cut if section.name != END]
        pairs = zip(found.wanted.fields, strange, strict=False)
        cut = [ReplySection(normalize_field_name(one.name), section.text) for one, section in pairs]
    for section in cut:
        if section.name == END and found.values and found.complete:
            break
        if section.name in called:
            _take(found, section)


def _take(found: _Found, section: ReplySection) -> None:
    one = found.wanted.called[section.name]
    raw = section.text
    if one.is_text and one.name not in found.values:
        inner = _unwrapped(raw, found, one)
        if inner is not None:
            return
        others = tuple(f for f in found.missing if f is not one and not f.is_text)
        raw, labelled = split_labels(raw, found.wanted, others, alone=False)
        for name, value in labelled.items():
            found.offer(name, value, "label", exact=False)
    found.offer(section.name, raw, "chat", exact=section.exact)


def _unwrapped(raw: str, found: _Found, one: OutputField) -> Mapping[str, Any] | None:
    """Where a text is a JSON object that holds the field itself, take what it holds."""
    if not opens_json_object(raw):
        return None
    for value in parse_json_objects(raw):
        inner = holder_of(value, normalize_field_name(one.name))
        if inner is not None:
            for name, item in held(inner, found.wanted):
                found.offer(name, item, "json", exact=False)
            return inner if one.name in found.values else None
    return None


def _from_objects(found: _Found, text: str, _: list[ReplySection]) -> None:
    if call := called_in(text, found.wanted):
        text = call
    if "{" not in text or (found.values and found.complete and not found.missing):
        return
    main = found.wanted.main
    for value, listed in flat(parse_json_objects(text)):
        if found.values and found.complete and not _goes_on(found, value):
            return
        holders = (holder_of(value, name) for name in _sought(found, main))
        for holder in (one for one in holders if one is not None):
            exact = holder is value and not listed and is_sound_json(text)
            for key, item in held(holder, found.wanted):
                found.offer(key, item, "json", exact=exact)
        if main and found.lacks(main) and main.is_text:
            _from_other_name(found, value, main)


def _sought(found: _Found, main: OutputField | None) -> list[str]:
    """The names that make an object one of fields: the main one's, until it is there."""
    if main is None or not found.lacks(main):
        return [normalize_field_name(one.name) for one in found.wanted.fields]
    own = normalize_field_name(main.name)
    return [own, *(n for n, one in found.wanted.called.items() if one is main and n != own)]


def _goes_on(found: _Found, value: Any) -> bool:
    """Whether an object adds to those before it, and begins no second reply."""
    names = {normalize_field_name(name) for name in found.values}
    missing = [normalize_field_name(one.name) for one in found.missing]
    return any(holder_of(value, name) for name in missing) and not any(
        holder_of(value, name) for name in names
    )


def _from_other_name(found: _Found, value: Any, main: OutputField) -> None:
    """Take the answer from an object that calls it otherwise, but has no doubt about it."""
    for other, holder in other_holders(value):
        item = next(v for k, v in holder.items() if normalize_field_name(str(k)) == other)
        if isinstance(item, (str, int, float)):
            found.offer(normalize_field_name(main.name), str(item), "json", exact=False)
            for name, side in held(holder, found.wanted):
                found.offer(name, side, "json", exact=False)
            return


def _from_labels(found: _Found, text: str) -> None:
    for name, value in (*tagged(text, found.wanted), *tabled(text, found.wanted)):
        found.offer(name, value, "label", exact=False)
    _, labelled = split_labels(text, found.wanted, tuple(found.missing))
    for name, value in labelled.items():
        found.offer(name, value, "label", exact=False)


def _from_whole(found: _Found, text: str, marked: list[ReplySection]) -> None:
    """Take the whole text for the one field that it can mean."""
    main = found.wanted.main
    if main is None or not found.lacks(main) or is_echo(text, found.wanted.inputs):
        return
    named = any(found.wanted.called.get(section.name) is main for section in marked)
    body = _SPOKEN_LABELS.sub("", marked[0].text)
    if named or not any(sign.isalnum() for sign in body):
        return
    if main.is_text:
        others = tuple(one for one in found.wanted.fields if one is not main)
        body, labelled = split_labels(body, found.wanted, others, alone=False)
        for name, value in labelled.items():
            found.offer(name, value, "label", exact=False)
        body = body if opens_json_object(body) else unfenced(body)
    if opens_json_object(body) and main.is_text:
        return  # an object with none of the keys: no answer
    found.offer(normalize_field_name(main.name), body.strip(), "plain")


def _reading(found: _Found) -> ReplyValues:
    main = found.wanted.main
    values = {}
    given = not found.missing
    for one in found.wanted.fields:
        if one.name in found.values:
            values[one.name] = found.values[one.name]
        elif one.name == "citations" and main is not None and "label" not in found.ways:
            values[one.name] = _inline(found.values.get(main.name), one)
        else:
            values[one.name] = one.default if not isinstance(one.default, list) else []
    if found.ways == {"plain"}:
        return ReplyValues(values, "plain")
    if len(found.ways) == 1 and found.exact and given:
        way = found.ways.pop()
        return ReplyValues(
            values, "json" if way == "json" else "chat" if way == "chat" else "salvaged"
        )
    return ReplyValues(values, "salvaged")


def _inline(answer: Any, one: OutputField) -> Any:
    """Citations that stand in the answer itself, where none are given otherwise."""
    if not isinstance(answer, str) or one.annotation != list[int]:
        return [] if isinstance(one.default, list) else one.default
    return list(dict.fromkeys(int(number) for number in _INLINE.findall(answer)))
