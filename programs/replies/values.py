"""Reads what a model wrote for a field as a value of the field's type, as people mean it.

"[1], [2]", "Passage 1" and "1 and 3" are lists of numbers, "95%" is 0.95, "Yes." is true, bullets
are a list. A value that cannot be told is a `ValueError`, never a guess.
"""

from __future__ import annotations

import enum
import html
import json
import math
import re
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin

import pydantic
from dspy.adapters.utils import parse_value

from ragwright.programs.replies.broken_json import (
    LONGEST_REPAIR,
    nests_too_deep,
    parse_json_objects,
)
from ragwright.programs.replies.notations import (
    BULLET,
    NUMBER_WORDS,
    find_integers,
    listed_items,
    named_values,
    spell_date,
)

_NOTHING = frozenset({
    "", "none", "n/a", "na", "null", "nil", "nothing", "empty", "-", "no", "unknown", "not given",
    "not applicable", "not available", "not provided",
})  # fmt: skip
_NULLS = ("null", "None", "none", "NULL", "Null")
_YES = frozenset({
    "yes", "true", "y", "t", "correct", "right", "sure", "definitely", "enough", "sufficient",
    "ja", "oui", "sí", "si", "да", "是", "はい", "✓", "✅",
})  # fmt: skip
_NO = frozenset({
    "no", "false", "n", "f", "incorrect", "wrong", "not", "insufficient",
    "nein", "non", "нет", "否", "不是", "いいえ", "✗", "❌",
})  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|(?<![\w.])[-+]?\.\d+")
_WORD = re.compile(r"[\w✓✅✗❌]+")
_SHARE = re.compile(r"(?<![\d.])([\d.]++)\s*+(?:/|out of|of)\s*+(\d+(?:\.\d+)?)")
_DECORATION = " \t\r\n*_`\"'“”\u2018\u2019«»"
_BESIDE = frozenset({"and", "passage", "passages", "document", "documents", "source", "sources"})
"""Words that stand between the numbers of passages."""
_TOLD = ("value", "text", "content", "answer", "result", "response", "reply", "output")
"""Keys of an object that stands for one value."""


def read_value(raw: Any, annotation: Any) -> tuple[Any, bool]:
    """Return the value, and whether it was written as it should be.

    Args:
        raw: Text, or a value out of a JSON object.
        annotation: The type of the field.

    Raises:
        ValueError: No such value can be read.
    """
    if annotation is str:
        return (raw.strip(), True) if isinstance(raw, str) else (_spoken(raw), False)
    if str in get_args(annotation) and raw in _NULLS and allows_none(annotation):
        return None, True
    if isinstance(raw, str) and ("&quot;" in raw or "&#34;" in raw):
        raw = html.unescape(raw)
    strict = _strictly(raw, annotation)
    if strict is not None:
        return strict[0], True
    return _leniently(raw, annotation), False


def absent_value(annotation: Any) -> Any:
    """Return what stands for a field of this type that was not given."""
    if allows_none(annotation):
        return None
    if annotation is str:
        return ""
    if annotation is bool:
        return False
    origin = get_origin(annotation) or annotation
    return origin() if origin in (list, set, tuple, dict, frozenset) else None


def allows_none(annotation: Any) -> bool:
    """Whether None is a value of the type."""
    return annotation is type(None) or (
        _is_union(annotation) and type(None) in get_args(annotation)
    )


def says_value(text: str, annotation: Any) -> bool:
    """Whether the first line of a text is a value of a type and no sentence with one."""
    line = next(iter(text.strip().splitlines()), "").strip()
    if not line or annotation is str:
        return False
    words = [word for word in re.findall(r"[^\W\d_]+", line.casefold()) if word not in _BESIDE]
    if words and strip_quotes(line).casefold().rstrip(".") not in _NOTHING:
        return False
    try:
        read_value(line, annotation)
    except ValueError:
        return False
    return True


def _strictly(raw: Any, annotation: Any) -> tuple[Any] | None:
    """What DSPy reads, but for what its repairing makes of text that is no JSON."""
    if isinstance(raw, str) and _is_listed(annotation) and not raw.strip().startswith(("[", "{")):
        return None
    if isinstance(raw, str) and nests_too_deep(raw):
        return None
    try:
        long = isinstance(raw, str) and len(raw) > LONGEST_REPAIR
        value = parse_value(json.loads(raw) if long else raw, annotation)
    # Python's parser calls it a lack of memory if a text nests too deep for it, as "-----" does.
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return None if isinstance(value, float) and math.isnan(value) else (value,)


def _leniently(raw: Any, annotation: Any) -> Any:
    if _is_union(annotation):
        return _one_of(raw, get_args(annotation))
    origin = get_origin(annotation) or annotation
    if origin is Literal:
        return _chosen(raw, {str(option): option for option in get_args(annotation)})
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        members = {str(member.value): member for member in annotation}
        return _chosen(raw, {**{member.name: member for member in annotation}, **members})
    readers: dict[Any, Callable[[Any], Any]] = {bool: _bool, int: _int, float: _float}
    if origin in readers:
        return readers[origin](raw)
    if origin in (list, set, tuple, frozenset):
        return _checked(_items(raw, annotation), annotation)
    return _checked(_structure(raw, annotation), annotation)


def _checked(value: Any, annotation: Any) -> Any:
    try:
        return pydantic.TypeAdapter(annotation).validate_python(value)
    except pydantic.PydanticSchemaGenerationError as error:
        raise ValueError(str(error)) from error


def _one_of(raw: Any, options: tuple[Any, ...]) -> Any:
    if type(None) in options and (
        raw is None or strip_quotes(raw).casefold().rstrip(".") in _NOTHING
    ):
        return None
    for option in options:
        if option is type(None):
            continue
        try:
            return read_value(raw, option)[0]
        except ValueError:
            continue
    raise ValueError(f"{raw!r} is none of {options}")


def _chosen(raw: Any, options: Mapping[str, Any]) -> Any:
    """The one option that the text is, or else the one that it names."""
    said = _folded(_spoken(raw))
    folded = {_folded(name): option for name, option in options.items()}
    if said in folded:
        return folded[said]
    named = {
        name: option
        for name, option in folded.items()
        if name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said)
    }
    # "very high" names "high" as well: the longer one is meant.
    longest = [n for n in named if not any(n != other and n in other for other in named)]
    if len({id(named[name]) for name in longest}) != 1:
        raise ValueError(f"{raw!r} is none of {list(options)}")
    return named[longest[0]]


def _bool(raw: Any) -> bool:
    words = [word.casefold() for word in _WORD.findall(_spoken(raw))]
    if not words:
        raise ValueError(f"{raw!r} is neither yes nor no")
    if words[0] in _NO or words[0] in _YES:
        return words[0] in _YES
    yes, no = any(word in _YES for word in words), any(word in _NO for word in words)
    if yes == no:
        raise ValueError(f"{raw!r} is neither yes nor no")
    return yes


def _int(raw: Any) -> int:
    said = _spoken(raw)
    numbers = {float(found.replace(",", "")) for found in _NUMBER.findall(said)}
    words = {
        NUMBER_WORDS[word]
        for word in re.findall(r"[a-z]+", said.casefold())
        if word in NUMBER_WORDS
    }
    found = numbers or {float(word) for word in words}
    if len(found) != 1 or not (only := found.pop()).is_integer():
        raise ValueError(f"{raw!r} is not one whole number")
    return int(only)


def _float(raw: Any) -> float:
    said = _spoken(raw)
    share = _SHARE.search(said)
    if share and float(share[2]):
        return float(share[1].strip(".") or "nan") / float(share[2])
    # "0,9" is a decimal comma; "1,234" is not.
    said = re.sub(r"(?<![\d,.])(\d+),(\d{1,2})(?![\d,])", r"\1.\2", said)
    numbers = list(dict.fromkeys(_NUMBER.findall(said)))
    if len(numbers) != 1:
        raise ValueError(f"{raw!r} is not one number")
    value = float(numbers[0].replace(",", ""))
    return value / 100 if re.search(rf"{re.escape(numbers[0])}\s*(?:%|percent)", said) else value


def _items(raw: Any, annotation: Any) -> list[Any]:
    wanted = next(iter(get_args(annotation)), str)
    if isinstance(raw, str):
        if wanted is int:
            return find_integers(raw)
        raw = _listed(raw)
    elif isinstance(raw, Mapping):
        raw = list(raw.values())
    elif not isinstance(raw, (list, tuple, set)):
        raw = [] if raw is None else [raw]
    items = [inner for item in raw for inner in _flat(item, wanted)]
    return items if wanted is Any else [read_value(item, wanted)[0] for item in items]


def _flat(item: Any, wanted: Any) -> list[Any]:
    if wanted is int and not isinstance(item, int):
        return find_integers(_spoken(item))
    listed = isinstance(item, list) and not _is_listed(wanted)
    return list(item) if listed else [item]


def _listed(text: str) -> list[Any]:
    """The items of a list that is written down in whatever way."""
    if text.strip().strip(_DECORATION).casefold().rstrip(".") in _NOTHING:
        return []
    for value in parse_json_objects(text) if "[" in text or "{" in text else ():
        return value if isinstance(value, list) else list(value.values())
    if items := listed_items(text):
        return items
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    bullets = [line for line in lines if BULLET.match(line)]
    if bullets:
        return [strip_quotes(BULLET.sub("", line)) for line in bullets]
    if len(lines) > 1:
        return [strip_quotes(line).rstrip(",;") for line in lines if not line.endswith(":")]
    return [strip_quotes(part) for part in _split(lines[0]) if strip_quotes(part)]


def _split(line: str) -> list[str]:
    for mark in (";", "|"):
        if mark in line:
            return line.split(mark)
    parts = line.split(",")
    quoted = all(part.strip()[:1] in "\"'“" for part in parts)
    return parts if quoted or all(len(part.split()) <= 3 for part in parts) else [line]


def _structure(raw: Any, annotation: Any) -> Any:
    """A dictionary for a model of pydantic, with the model's own spelling of its keys."""
    values = parse_json_objects(raw) if isinstance(raw, str) else [raw]
    if not values and (named := named_values(raw)):
        values = [named]
    fields = getattr(annotation, "model_fields", None)
    for value in values:
        if isinstance(value, Mapping) and fields:
            names = {_folded(name): name for name in fields}
            return {names.get(_folded(str(k)), k): inner for k, inner in value.items()}
    return values[0] if values else spell_date(strip_quotes(raw), annotation)


def _spoken(raw: Any) -> str:
    """A value out of a JSON object as the text that it stands for, however deep that lies."""
    if isinstance(raw, str):
        return raw.strip()
    if raw is None:
        raise ValueError("nothing was given")
    plain = (str, int, float, Mapping)
    if isinstance(raw, (list, tuple)) and all(isinstance(one, plain) for one in raw):
        return ", ".join(map(_spoken, raw))
    if isinstance(raw, Mapping):
        told = [raw[key] for key in _TOLD if raw.get(key) is not None]
        told = told or list(raw.values())[: len(raw) == 1]
        if told:
            return _spoken(told[0])
    return json.dumps(raw, ensure_ascii=False, default=str)


def strip_quotes(raw: Any) -> str:
    """A text without the quotes and marks around it."""
    return str(raw).strip().strip(_DECORATION).strip()


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _is_listed(annotation: Any) -> bool:
    return (get_origin(annotation) or annotation) in (list, set, tuple, frozenset)
