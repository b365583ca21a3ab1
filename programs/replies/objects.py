"""Finds the JSON objects that hold a reply's fields, at whatever depth they do.

A call of a function, in JSON or as Python writes it, is an object of its arguments.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ragwright.programs.replies.broken_json import parse_json_objects
from ragwright.programs.replies.no_answer import SCHEMA_KEYS
from ragwright.programs.replies.wanted import OutputFields, normalize_field_name

_OTHER_NAMES = ("finalanswer", "response", "reply", "result", "output", "text", "content", "value",
                "actioninput")  # fmt: skip
"""What models call the only answer that there is."""
_MOST_NESTING = 6
_FENCE = re.compile(r"\A\s*+(?:```|~~~)[\w-]*+[ \t]*+\n?")
_IN_SCHEMA = ("value", "const")
_MOST_CALL = 8_000
_SAID_BY = frozenset({"finalanswer", "respond", "finish", "submit", "output"})
"""Functions that an agent hands its answer to, whatever the field is called."""
_CALL = re.compile(r"(?:```\w{0,20}\s{0,9})?([A-Za-z_][\w.]{0,60})\((.*)\)[\s`]*", re.DOTALL)
_NAMED = ("name", "field", "key")


def opens_json_object(text: str) -> bool:
    """Whether a text begins as a JSON object, in a fence or without."""
    return unfenced(text).lstrip().startswith(("{", "[{"))


def unfenced(text: str) -> str:
    """What stands in the fence that a text is; the text if it is none."""
    fence = _FENCE.match(text)
    if fence is None:
        return text
    return text[fence.end() :].rstrip().removesuffix("```").removesuffix("~~~").rstrip()


def is_sound_json(text: str) -> bool:
    """Whether the first JSON object of a text needs no repair."""
    try:
        json.JSONDecoder().raw_decode(text, text.index("{"))
    except (ValueError, RecursionError):
        return False
    return True


def holder_of(value: Any, name: str, depth: int = 0) -> Mapping[str, Any] | None:
    """The first object, however deep inside, that has a key of this name."""
    if depth > _MOST_NESTING:
        return None
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = parse_json_objects(value)  # a call's arguments, which are JSON within JSON
    if isinstance(value, list) and (pairs := _pairs(value)):
        value = pairs
    if isinstance(value, Mapping):
        if any(normalize_field_name(str(key)) == name for key in value):
            return value
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        holder = holder_of(inner, name, depth + 1)
        if holder is not None:
            return holder
    return None


def of_schema(raw: Any, annotation: Any) -> Any:
    """Return the value that stands in its own description: {"type": "string", "value": "30"}."""
    if not isinstance(raw, Mapping) or not set(raw) <= {*SCHEMA_KEYS, *_IN_SCHEMA}:
        return raw
    key = next((key for key in _IN_SCHEMA if key in raw), None)
    own = getattr(annotation, "model_fields", {})
    described = key == "const" or len(raw) > 1 or isinstance(raw.get("value"), Mapping)
    return raw[key] if key and described and key not in own else raw


def flat(values: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """Yield values, those of a list of objects one by one, and whether they stood in a list."""
    for value in values:
        if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
            pairs = _pairs(value)
            yield from [(pairs, True)] if pairs else ((one, True) for one in value)
        else:
            yield value, False


def _pairs(items: list[Any]) -> dict[str, Any] | None:
    """A list of fields, each with its name and its value, as one object."""
    found: dict[str, Any] = {}
    for item in items:
        key = next((key for key in _NAMED if isinstance(item, Mapping) and key in item), None)
        if key is None or "value" not in item:
            return None
        found[str(item[key])] = item["value"]
    return found or None


def held(holder: Mapping[str, Any], wanted: OutputFields) -> Iterator[tuple[str, Any]]:
    """Yield what an object holds by normalized names: fields under their own names first."""
    own = {normalize_field_name(one.name) for one in wanted.fields}
    named = {normalize_field_name(str(key)): item for key, item in reversed(list(holder.items()))}
    yield from sorted(named.items(), key=lambda pair: pair[0] not in own)
    for name, item in named.items():  # an answer that is an object may hold what goes with it
        if name in wanted.called and isinstance(item, Mapping):
            yield from ((normalize_field_name(str(key)), inner) for key, inner in item.items())


def other_holders(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield objects that have the answer under a name that says only that it is the answer."""
    for other in _OTHER_NAMES:
        holder = holder_of(value, other)
        if holder is not None:
            yield other, holder


def begins_call(text: str, wanted: OutputFields) -> bool:
    """Whether a text may be the beginning of a call of a function, or of an object with a name."""
    named = re.match(r"\s*[A-Za-z_][\w.]{0,60}(?:\(?\s*+\Z|\s{0,9}\[?\s{0,9}\{)", text)
    given = re.match(r"\s*([A-Za-z_][\w.]{0,60})\(", text)
    return (
        named is not None
        or (given is not None and _takes_answer(given[1], wanted))
        or bool(called_in(text, wanted))
    )


def _takes_answer(function: str, wanted: OutputFields) -> bool:
    name = normalize_field_name(function)
    return name in _SAID_BY or name in wanted.called


def _by_place(text: str, wanted: OutputFields) -> str:
    """A call that names no argument: they stand in the order of the fields."""
    printed = text.startswith("print(")
    said = text.removeprefix("print(").rstrip("` \n").removesuffix(")" if printed else "")
    call = _CALL.fullmatch(said) if len(text) < _MOST_CALL else None
    if call is None or not _takes_answer(call[1], wanted):
        return ""
    try:
        given = ast.literal_eval(f"({call[2]},)")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""
    names = [one.name for one in wanted.fields]
    fits = 0 < len(given) <= len(names)
    return json.dumps(dict(zip(names, given, strict=False)), default=str) if fits else ""


def called_in(text: str, wanted: OutputFields) -> str:
    """Return a call of a function whose arguments are fields, as JSON; nothing if it is none."""
    names = "|".join(re.escape(one.name) for one in wanted.fields)
    begun = re.match(
        rf"(?:```\w{{0,20}}\s{{0,9}})?\[?\s{{0,9}}(?:print\()?[A-Za-z_][\w.]{{0,60}}\(\s{{0,9}}"
        rf"(?=(?:{names})\s{{0,9}}=)",
        text := text.lstrip(),
    )
    if begun is None:
        return _by_place(text, wanted)
    arguments = re.sub(rf"(\A|,\s*)({names})\s*=\s*", r'\1"\2": ', text[begun.end() :])
    closed = arguments.rstrip("` \n)]")
    tail = "]" if closed.count("[") > closed.count("]") else ""
    return f"{{{closed}{tail}}}"
