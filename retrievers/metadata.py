"""Normalizes metadata, so that every store keeps it alike.

The rule is the same for rows of any file, for documents made in Python, and in every store: what is
not there (`None`, NaN) is left out; text, numbers and booleans are kept; dates become ISO 8601
text, which filters compare by time; lists of values of one kind are kept; everything else is
refused by name, or flattened where the caller chose that.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from ragwright.retrievers.argument_checks import short_repr
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Metadata, Scalar, Value

Nested = Literal["refuse", "flatten", "drop"]
"""What becomes of an object in an object: an error, keys with dots (`a.b`), or nothing."""

RESERVED = frozenset({"document", "start", "end", "tokens"})
"""What a passage says of itself; a source's key of that name gets a `_` behind it."""
TIME = ":time"
"""Behind the key of a date, in stores alone: its time in seconds, for filters to compare."""

_WHOLE = 1 << 63
_EXACT = 1 << 53
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII
)
_MISSING = ("NaTType", "NAType")
_TAKEN = ("$", "#", "chroma:")
_LONGEST_KEY = 200
_DEEPEST = 20


def normalize_metadata(
    values: object, place: str, *, nested: Nested = "refuse"
) -> dict[str, Value]:
    """Return the metadata that a source gives, as stores keep it.

    Args:
        values: A mapping, or None.
        place: What errors call it: a file and line, a document.
        nested: What becomes of objects in it.

    Raises:
        InputError: A key or a value that cannot be kept; it names the place and the key.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InputError(
            f"{place}: the metadata is {short_repr(values)}, not an object.",
            hint="Give keys and values.",
        )
    found: dict[str, Value] = {}
    for key, value in _flat(values, place, nested, 0):
        check_key(key, place)
        name, kept = clean_text(key), _value(value, f"{place}: metadata {key!r}")
        if kept is not None:
            found[f"{name}_" if name in RESERVED else name] = kept
    return found


def check_key(key: object, place: str) -> None:
    """Make sure that a key can be kept and asked for in every store.

    Raises:
        InputError: It is empty, too long, or one that a store keeps for itself.
    """
    if not isinstance(key, str):
        raise InputError(f"{place}: the metadata key {short_repr(key)} is not text.")
    taken = key.startswith(_TAKEN) or key.endswith(TIME)
    if taken or not key.strip() or len(key) > _LONGEST_KEY or has_unstorable_characters(key):
        raise InputError(
            f"{place}: the metadata key {short_repr(key)} cannot be kept.",
            hint=f"A key is not empty, at most {_LONGEST_KEY} characters long, starts with none of "
            f"{' '.join(_TAKEN)} and does not end with {TIME}.",
        )


def clean_text(text: str) -> str:
    """Return a text in which what no store can hold, NUL and lone surrogates, is U+FFFD."""
    if has_unstorable_characters(text):
        return _UNCLEAN.sub("\N{REPLACEMENT CHARACTER}", text)
    return str.__str__(text)


def has_unstorable_characters(text: str) -> bool:
    """Tell whether a text holds NUL or a lone surrogate."""
    return _UNCLEAN.search(text) is not None


_UNCLEAN = re.compile("[\0\ud800-\udfff]")


def as_kept(value: Scalar, what: str) -> Scalar:
    """Return a value as every store keeps it, and as it is read again: no member of an enumeration.

    A large float without a fraction is an int: stores compare such exactly.

    Raises:
        InputError: It is a number that no store can hold.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(value)
    check_number(value, what)
    if isinstance(value, int):
        return int(value)
    is_whole = value.is_integer() and _EXACT <= abs(value) < _WHOLE
    return int(value) if is_whole else float(value)


def check_number(number: float, what: str) -> None:
    """Make sure that every store can hold a number.

    Raises:
        InputError: It is NaN, infinite, or a whole number beyond 64 bits.
    """
    wide = isinstance(number, int) and not -_WHOLE <= number < _WHOLE
    if wide or not math.isfinite(number):
        shown = "a whole number beyond 64 bits" if wide else str(number)
        raise InputError(
            f"{what} is {shown}, which cannot be kept.",
            hint="Leave it out, or write it as text.",
        )


def iso_date_seconds(text: str) -> float | None:
    """Return the time of an ISO 8601 date in seconds since 1970, UTC; None if it is none."""
    if not _DATE.fullmatch(text):
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)).total_seconds()


def add_date_seconds(facts: Metadata) -> dict[str, Value]:
    """Return metadata with the time of each date beside it."""
    found = dict(facts)
    for key, value in facts.items():
        if isinstance(value, str) and (time := iso_date_seconds(value)) is not None:
            found[f"{key}{TIME}"] = time
    return found


def with_float_lists(facts: Metadata) -> dict[str, Value]:
    """Return metadata with the numbers of lists as floats: some stores compare their types."""
    return {
        key: value if isinstance(value, str | int | float) else [as_list_item(one) for one in value]
        for key, value in facts.items()
    }


def as_list_item(value: Scalar) -> Scalar:
    """Return a value as it stands in a list of `with_float_lists`."""
    return value if isinstance(value, str | bool) else float(value)


def _flat(
    values: Mapping[Any, Any], place: str, nested: Nested, depth: int
) -> Iterator[tuple[Any, Any]]:
    for key, value in values.items():
        if not is_nested(value):
            yield key, value
        elif nested == "refuse":
            raise InputError(
                f"{place}: metadata {short_repr(key)} is {short_repr(value)}, an object.",
                hint='Flatten it, or set nested = "flatten" or "drop" under [index.reading].',
            )
        elif nested == "flatten" and isinstance(value, Mapping) and depth < _DEEPEST:
            for inner, below in _flat(value, place, nested, depth + 1):
                yield f"{key}.{inner}", below


def is_nested(value: object) -> bool:
    """Tell whether a value is an object, or a list that holds one."""
    if isinstance(value, list | tuple):
        return any(isinstance(one, Mapping | list | tuple) for one in value)
    return isinstance(value, Mapping)


def _value(value: object, what: str) -> Value | None:
    value = _plain(value)
    if isinstance(value, list | tuple | set | frozenset):
        return _list(value, what)
    return None if value is None else _scalar(value, what)


def _list(values: Any, what: str) -> list[Scalar] | None:
    kept = [_scalar(plain, what) for one in values if (plain := _plain(one)) is not None]
    if isinstance(values, set | frozenset):
        kept.sort(key=repr)
    kinds = {
        bool if isinstance(one, bool) else str if isinstance(one, str) else int for one in kept
    }
    if len(kinds) > 1:
        raise InputError(
            f"{what} is a list of several kinds: {short_repr(kept)}.",
            hint="Use one kind in a list.",
        )
    if {type(one) for one in kept} == {int, float}:
        return [float(one) for one in kept] or None
    return kept or None


def _plain(value: object) -> object:
    """Return what numpy, Arrow, dates and others stand for in plain Python.

    That is None for NaN, and for pandas' NaT and NA: what tables write where nothing is.
    """
    plain = _in_python(value)
    missing = isinstance(plain, float) and math.isnan(plain)
    return None if missing or type(value).__name__ in _MISSING else plain


def _in_python(value: object) -> object:
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral() else float(value)
    if isinstance(value, UUID):
        return str(value)
    listed = getattr(value, "tolist", None)  # numpy's arrays and numbers, pandas' too
    return listed() if callable(listed) else value


def _scalar(value: object, what: str) -> Scalar:
    if isinstance(value, str | int | float):
        return as_kept(value, what)
    raise InputError(
        f"{what} is {short_repr(value)}, neither text, number, boolean, date nor a list of such.",
        hint="Leave it out, or write it as text.",
    )
