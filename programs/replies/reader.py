"""Reads the fields of a reply, wherever and however a language model wrote them.

Ways of writing a reply, each tried for what the ways before it have not given: DSPy's markers
(`[[ ## answer ## ]]`, in whatever case and spacing), a JSON object (fenced, nested, cut short, with
single quotes), labels (`**Answer:** ...`, headings, XML tags), and the whole text. A field that is
repeated counts where it is first filled: what comes before is the prompt's form given back, what
comes after is made up. Knows nothing of language models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from ragwright.programs.replies.no_answer import is_echo, is_program, is_template
from ragwright.programs.replies.thoughts import without_thoughts
from ragwright.programs.replies.values import parse_json_objects, read_value
from ragwright.programs.replies.wanted import SHARES, OutputField, OutputFields

How = Literal["chat", "json", "salvaged", "plain"]
HOWS: tuple[How, ...] = ("chat", "json", "salvaged", "plain")

# Models repeat a sign without end: every pattern here is linear in the length of such a run.
MARKER = re.compile(
    r"(?:\*\*|__|`{1,3}|#{1,6}[ \t]++|>[ \t]*+)?"
    r"\[\[[ \t]*+(#*+)[ \t]*+([^\W\d][\w \t-]{0,60}?)[ \t]*+(#*+)"
    r"[ \t]*+\]\](?:\*\*|__|`{1,3})?[ \t]*:?"
)
_CUT_MARKER = re.compile(r"(?:\A|\n)[ \t]*+\[(?:\[[ \t]*+(?:#[^\]\n]{0,70}\]?)?)?\Z")
"""What is left of a marker where the limit of tokens cut a reply."""
_EXACT = re.compile(r"\[\[ ## \w+ ## \]\]")
_FENCE = re.compile(r"\A\s*+```[\w-]*+[ \t]*+\n?")
_INLINE = re.compile(r"\[(\d{1,3})\]")
_OTHER_NAMES = ("finalanswer", "response", "reply", "result", "output", "text", "content", "value")
_END = "completed"
_MOST_NESTING = 6
LONGEST = 200_000
"""Signs of a reply that are read, thoughts not counted; a loop that a model fell into is longer."""
_LONGEST_RAW = 2_000_000
_MOST_SECTIONS = 200


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


@dataclass(frozen=True)
class ReplySection:
    """What stands under a marker or a label.

    Attributes:
        name: Of the field, folded; empty before the first one.
        text: The text, stripped.
        exact: Whether the marker was written as DSPy asks for it.
    """

    name: str
    text: str
    exact: bool = False


@dataclass
class _Found:
    """The fields that were found so far, and how."""

    wanted: OutputFields
    values: dict[str, Any] = field(default_factory=dict)
    ways: set[str] = field(default_factory=set)
    exact: bool = True

    def offer(self, name: str, raw: Any, way: str, *, exact: bool = True) -> None:
        """Take a value for a field that has none yet, if it can be read."""
        one = next((f for f in self.wanted.fields if normalize_field_name(f.name) == name), None)
        if one is None or one.name in self.values or is_template(raw, one):
            return
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
        Unreadable: A required field is not there, or nothing at all is.
    """
    said = without_thoughts(text[:_LONGEST_RAW], keep=wanted.names)[:LONGEST]
    said = _CUT_MARKER.sub("", said)
    if not any(sign.isalnum() for sign in said):
        raise UnreadableReply("it is empty" if not said.strip() else "it holds no words")
    found = _Found(wanted)
    marked = marker_sections(said, wanted)
    # What stands in braces or behind "answer =" inside a program is no field of a reply.
    program = is_program(said)
    if not program:
        _from_fields(found, said, marked)
    elif len(marked) > 1:
        _from_markers(found, said, marked)
    if (not found.complete or not found.values) and (plain or not program):
        _from_whole(found, said, marked)
    if not found.values or not found.complete:
        lost = ", ".join(repr(one.name) for one in found.missing if one.required)
        raise UnreadableReply(f"{lost or 'no field'} could not be read in it")
    return _reading(found, said)


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
            _from_labels(found, section.text)


def marker_sections(text: str, wanted: OutputFields) -> list[ReplySection]:
    """Cut a text at its markers; the first section is what stands before any."""
    names = {normalize_field_name(one.name) for one in wanted.fields} | {_END}
    # Without a # on either side, only the name of a field makes a marker.
    found = (
        mark
        for mark in MARKER.finditer(text)
        if (mark[1] or mark[3] or normalize_field_name(mark[2]) in names)
        and not _is_mention(text, mark)
    )
    marks = list(islice(found, _MOST_SECTIONS))
    ends = [*(mark.start() for mark in marks[1:]), len(text)][: len(marks)]
    cut = [
        ReplySection(
            normalize_field_name(mark[2]),
            text[mark.end() : end].strip(),
            bool(_EXACT.fullmatch(mark[0].strip())),
        )
        for mark, end in zip(marks, ends, strict=True)
    ]
    return [ReplySection("", text[: marks[0].start()].strip() if marks else text.strip()), *cut]


def _is_mention(text: str, mark: re.Match[str]) -> bool:
    """Whether a marker is spoken of: in backticks and within a sentence, as prompts have it."""
    before = text[text.rfind("\n", 0, mark.start()) + 1 : mark.start()]
    return "`[[" in mark[0] and any(sign.isalnum() for sign in before)


def normalize_field_name(name: str) -> str:
    """A field's name as it is compared: case, spaces and signs do not count."""
    return re.sub(r"[\W_]+", "", name.casefold())


def label_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for a line that begins with one of these names as a label."""
    parts = "|".join(
        re.escape(name).replace("_", "[ _-]").replace(r"\ ", "[ _-]") for name in names
    )
    return re.compile(
        rf"^[ \t]*+(?:[-*•>]|\d{{1,2}}[.)]|#{{1,6}})?[ \t]*+[*_`\"']{{0,3}}"
        rf"(?:the |final |short |my ){{0,2}}({parts})"
        rf"(?: (?:to|of) (?:the|this|your) question)?(?: is)?[*_`\"']{{0,3}}[ \t]*+"
        rf"(?:[:\uff1a=][*_`]{{0,3}}[ \t]*|$)",
        re.IGNORECASE | re.MULTILINE,
    )


def _share(value: Any, one: OutputField) -> Any:
    """Bring a number that is a share and was given in per cent into its range."""
    is_number = isinstance(value, float) and one.name.lower() in SHARES
    return value / 100 if is_number and 1 < value <= 100 else value


def opens_json_object(text: str) -> bool:
    """Whether a text begins as a JSON object, in a fence or without."""
    return _unfenced(text).lstrip().startswith(("{", "[{"))


def _unfenced(text: str) -> str:
    """What stands in the fence that a text is; the text if it is none."""
    fence = _FENCE.match(text)
    return text if fence is None else text[fence.end() :].rstrip().removesuffix("```").rstrip()


def _from_markers(found: _Found, text: str, marked: list[ReplySection]) -> None:
    names = {normalize_field_name(one.name) for one in found.wanted.fields}
    known = names | {normalize_field_name(name) for name in found.wanted.inputs} | {_END}
    cut = marked[1:]
    if cut and not any(one.name in known for one in cut):
        # Markers in another language: they stand in the order that was asked for.
        pairs = zip(found.wanted.fields, cut, strict=False)
        cut = [ReplySection(normalize_field_name(one.name), section.text) for one, section in pairs]
    for section in cut:
        if section.name == _END and found.values and found.complete:
            break
        if section.name in names:
            _take(found, section)


def _take(found: _Found, section: ReplySection) -> None:
    one = next(f for f in found.wanted.fields if normalize_field_name(f.name) == section.name)
    raw = section.text
    if one.is_text and one.name not in found.values:
        inner = _unwrapped(raw, found, one)
        if inner is not None:
            return
        others = tuple(f.name for f in found.missing if f is not one and not f.is_text)
        raw, labelled = split_labels(raw, others)
        for name, value in labelled.items():
            found.offer(normalize_field_name(name), value, "label", exact=False)
    found.offer(section.name, raw, "chat", exact=section.exact)


def _unwrapped(raw: str, found: _Found, one: OutputField) -> Mapping[str, Any] | None:
    """Where a text is a JSON object that holds the field itself, take what it holds."""
    if not opens_json_object(raw):
        return None
    for value in parse_json_objects(raw):
        inner = _holder(value, normalize_field_name(one.name))
        if inner is not None:
            for key, item in inner.items():
                found.offer(normalize_field_name(str(key)), item, "json", exact=False)
            return inner if one.name in found.values else None
    return None


def _from_objects(found: _Found, text: str, _: list[ReplySection]) -> None:
    if "{" not in text or (found.values and found.complete and not found.missing):
        return
    names = [normalize_field_name(one.name) for one in found.wanted.fields]
    main = found.wanted.main
    for value in parse_json_objects(text):
        for name in [normalize_field_name(main.name)] if main else names:
            holder = _holder(value, name)
            if holder is not None:
                exact = holder is value and is_sound_json(text)
                for key, item in holder.items():
                    found.offer(normalize_field_name(str(key)), item, "json", exact=exact)
        if main and found.lacks(main):
            _from_alias(found, value, main)
        if found.values and found.complete:
            return


def _from_alias(found: _Found, value: Any, main: OutputField) -> None:
    """Take the answer from an object that calls it otherwise, but has no doubt about it."""
    for other in _OTHER_NAMES:
        holder = _holder(value, other)
        if holder is not None and main.is_text:
            item = next(v for k, v in holder.items() if normalize_field_name(str(k)) == other)
            if isinstance(item, (str, int, float)):
                found.offer(normalize_field_name(main.name), str(item), "json", exact=False)
                for key, side in holder.items():
                    found.offer(normalize_field_name(str(key)), side, "json", exact=False)
                return


def _holder(value: Any, name: str, depth: int = 0) -> Mapping[str, Any] | None:
    """The first object, however deep inside, that has a key of this name."""
    if depth > _MOST_NESTING:
        return None
    if isinstance(value, Mapping):
        if any(normalize_field_name(str(key)) == name for key in value):
            return value
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        holder = _holder(inner, name, depth + 1)
        if holder is not None:
            return holder
    return None


def is_sound_json(text: str) -> bool:
    """Whether the first JSON object of a text needs no repair."""
    try:
        json.JSONDecoder().raw_decode(text, text.index("{"))
    except (ValueError, RecursionError):
        return False
    return True


def _from_labels(found: _Found, text: str) -> None:
    names = tuple(one.name for one in found.missing)
    for name in names:
        tag = re.search(rf"<{re.escape(name)}>(.*?)(?:</{re.escape(name)}>|\Z)", text, re.I | re.S)
        if tag:
            found.offer(normalize_field_name(name), tag[1].strip(), "label", exact=False)
    _, labelled = split_labels(text, tuple(one.name for one in found.missing))
    for name, value in labelled.items():
        found.offer(normalize_field_name(name), value, "label", exact=False)


def split_labels(text: str, names: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Cut a text at lines that begin with a label; what stands before the first, and the rest."""
    if not names:
        return text, {}
    marks = list(label_pattern(names).finditer(text))
    if not marks:
        return text, {}
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    labelled: dict[str, str] = {}
    for mark, end in zip(marks, ends, strict=True):
        value = text[mark.end() : end].strip().rstrip("*_").strip()
        if value:
            labelled.setdefault(normalize_field_name(mark[1]), value)
    return text[: marks[0].start()].strip(), labelled


def _from_whole(found: _Found, text: str, marked: list[ReplySection]) -> None:
    """Take the whole text for the one field that it can mean."""
    main = found.wanted.main
    if main is None or not found.lacks(main) or is_echo(text, found.wanted.inputs):
        return
    named = any(section.name == normalize_field_name(main.name) for section in marked)
    body = marked[0].text
    if named or not any(sign.isalnum() for sign in body):
        return
    if main.is_text:
        body, labelled = split_labels(
            body, tuple(f.name for f in found.wanted.fields if f is not main)
        )
        for name, value in labelled.items():
            found.offer(normalize_field_name(name), value, "label", exact=False)
        body = body if opens_json_object(body) else _unfenced(body)
    if opens_json_object(body) and main.is_text:
        return  # an object with none of the keys: no answer
    found.offer(normalize_field_name(main.name), body.strip(), "plain")


def _reading(found: _Found, text: str) -> ReplyValues:
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
