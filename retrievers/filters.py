"""Checks `where` filters: Chroma's language, the same for every store.

Operators: `$eq $ne $gt $gte $lt $lte $in $nin $contains $not_contains $and $or`; a bare value means
`$eq`, and several keys or operators side by side mean `$and`. Text, numbers and booleans are three
kinds that never equal each other; whole and decimal numbers are one kind; only numbers and dates
(ISO 8601 text) have an order. Dates are compared by time, however they are written, but in lists.
`$contains` looks into lists, and only it does: a list equals nothing. Metadata that lacks a key
passes the negations only: `$ne`, `$nin` and `$not_contains`. Knows no store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, cast

from ragwright.retrievers.argument_checks import short_repr
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.metadata import (
    TIME,
    as_kept,
    check_key,
    clean_text,
    iso_date_seconds,
)
from ragwright.retrievers.types import Scalar

Operator = Literal[
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$contains", "$not_contains"
]
ValueKind = Literal["text", "number", "boolean"]

ORDERED = frozenset({"$gt", "$gte", "$lt", "$lte"})
LISTED = frozenset({"$in", "$nin"})
WITHIN = frozenset({"$contains", "$not_contains"})
OPERATORS = frozenset({"$eq", "$ne"}) | ORDERED | LISTED | WITHIN
NEGATED = frozenset({"$ne", "$nin", "$not_contains"})
_DEEPEST = 20
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. `values` holds one value, or for `$in` and `$nin` one or more of a kind."""

    key: str
    operator: Operator
    values: tuple[Scalar, ...]

    @property
    def value(self) -> Scalar:
        return self.values[0]

    @property
    def kind(self) -> ValueKind:
        return value_kind(self.value)


@dataclass(frozen=True, slots=True)
class Junction:
    """Two or more filters, of which all or any must hold."""

    operator: Literal["$and", "$or"]
    parts: tuple[Filter, ...]


Filter = Condition | Junction


def value_kind(value: Scalar) -> ValueKind:
    """Tell of which of the three kinds a value is."""
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def parse_filter(where: Mapping[str, Any] | None) -> Filter | None:
    """Check a filter; an empty one is None.

    Raises:
        InputError: An unknown operator, a key or a value that it does not take, or too many parts.
    """
    if where is None:
        return None
    if not isinstance(where, Mapping):
        raise InputError(
            f"A filter is a mapping, not {short_repr(where)}.",
            hint='Give one such as {"year": 2024}.',
        )
    found = _parsed(where, 0) if where else None
    if found is not None and _size(found) > _MOST:
        raise InputError(f"The filter has more than {_MOST} conditions.", hint="Ask for less.")
    return found


def _parsed(where: Mapping[str, Any], depth: int) -> Filter:
    if depth > _DEEPEST:
        raise InputError(f"The filter is more than {_DEEPEST} levels deep.", hint="Flatten it.")
    return _joined("$and", [_clause(key, value, depth) for key, value in where.items()])


def conditions_of(where: Filter) -> Iterator[Condition]:
    """Yield the comparisons of a filter."""
    if isinstance(where, Condition):
        yield where
    else:
        for part in where.parts:
            yield from conditions_of(part)


def _size(where: Filter) -> int:
    return sum(map(_size, where.parts)) if isinstance(where, Junction) else len(where.values)


def _joined(operator: Literal["$and", "$or"], parts: Sequence[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else Junction(operator, tuple(parts))


def _clause(key: object, value: Any, depth: int) -> Filter:
    if key in {"$and", "$or"}:
        if not isinstance(value, list | tuple) or not value or not all(map(_is_filter, value)):
            raise InputError(f"{key} takes a list of filters, not {short_repr(value)}.")
        parts = [_parsed(part, depth + 1) for part in value]
        return _joined(key, parts)
    if isinstance(key, str) and key.startswith("$"):
        raise _unknown(key)
    check_key(key, "The filter")
    name = clean_text(cast(str, key))
    if not isinstance(value, Mapping):
        return _condition(name, "$eq", value)
    if not value:
        raise InputError(f"The filter on {name!r} is empty.", hint="Give an operator and a value.")
    return _joined("$and", [_condition(name, sign, want) for sign, want in value.items()])


def _is_filter(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _condition(key: str, operator: object, want: Any) -> Filter:
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise _unknown(operator)
    listed = operator in LISTED
    if listed and (not isinstance(want, list | tuple | set | frozenset) or not want):
        raise InputError(f"{operator} on {key!r} takes a list of values, not {short_repr(want)}.")
    values = tuple(_checked(key, operator, one) for one in (want if listed else (want,)))
    kinds = {value_kind(value) for value in values}
    if len(kinds) > 1:
        raise InputError(
            f"{operator} on {key!r} mixes kinds: {short_repr(want)}.", hint="Use one kind."
        )
    sign = cast(Operator, operator)
    if operator in ORDERED and kinds != {"number"}:
        return Condition(f"{key}{TIME}", sign, (_time(key, operator, values[0]),))
    if operator in WITHIN or kinds != {"text"}:
        return Condition(key, sign, values)
    return _of_texts(key, sign, values)


def _of_texts(key: str, operator: Operator, values: Sequence[Scalar]) -> Filter:
    """Compare dates by time, as they are written in several ways, and other texts as they are."""
    times = [iso_date_seconds(str(value)) for value in values]
    others = tuple(value for value, time in zip(values, times, strict=True) if time is None)
    dates = tuple(time for time in times if time is not None)
    parts = [
        Condition(name, operator, some)
        for name, some in ((f"{key}{TIME}", dates), (key, others))
        if some
    ]
    return _joined("$and" if operator in NEGATED else "$or", parts)


def _checked(key: str, operator: str, value: object) -> Scalar:
    """Return a value as metadata holds it."""
    if isinstance(value, date):  # a time with its day too
        value = value.isoformat()
    if not isinstance(value, str | int | float):
        raise InputError(
            f"{operator} on {key!r} takes text, numbers or booleans, not {short_repr(value)}."
        )
    return as_kept(value, f"{operator} on {key!r}: the value")


def _time(key: str, operator: str, value: Scalar) -> float:
    time = iso_date_seconds(value) if isinstance(value, str) else None
    if time is None:
        raise InputError(
            f"{operator} on {key!r} takes a number, not {short_repr(value)}.",
            hint="Or a date as in 2024-12-31 or 2024-12-31T23:59:00Z.",
        )
    return time


def _unknown(operator: object) -> InputError:
    known = " ".join([*sorted(OPERATORS), "$and", "$or"])
    return InputError(
        f"Unknown filter operator {short_repr(operator)}.", hint=f"Use one of: {known}."
    )
