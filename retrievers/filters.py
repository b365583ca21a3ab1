"""A `where` filter in, a checked `Filter` out: Chroma's language, the same for every store.

Operators: `$eq $ne $gt $gte $lt $lte $in $nin $and $or`; a bare value means `$eq`, and several
keys or operators side by side mean `$and`. Text, numbers and booleans are three kinds that never
equal each other; whole and decimal numbers are one kind, compared as 64-bit floats; only numbers
have an order. Metadata that lacks a key passes `$ne` and `$nin` only. Knows no store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Scalar

Operator = Literal["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"]
Kind = Literal["text", "number", "boolean"]

ORDERED = frozenset({"$gt", "$gte", "$lt", "$lte"})
LISTED = frozenset({"$in", "$nin"})
OPERATORS = frozenset({"$eq", "$ne"}) | ORDERED | LISTED


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
    def kind(self) -> Kind:
        return kind_of(self.value)


@dataclass(frozen=True, slots=True)
class Junction:
    """Two or more filters, of which all or any must hold."""

    operator: Literal["$and", "$or"]
    parts: tuple[Filter, ...]


Filter = Condition | Junction


def kind_of(value: Scalar) -> Kind:
    """Tell of which of the three kinds a value is."""
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def parse(where: Mapping[str, Any] | None) -> Filter | None:
    """Check a filter; an empty one is None.

    Raises:
        InputError: An unknown operator, or a value of a kind that it does not take.
    """
    return _joined("$and", [_clause(key, value) for key, value in where.items()]) if where else None


def _joined(operator: Literal["$and", "$or"], parts: Sequence[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else Junction(operator, tuple(parts))


def _clause(key: str, value: Any) -> Filter:
    if key in {"$and", "$or"}:
        if not isinstance(value, Sequence) or not value or not all(_is_filter(v) for v in value):
            raise InputError(f"{key} takes a list of filters, not {value!r}.")
        parts = [cast(Filter, parse(part)) for part in value]
        return _joined(cast(Literal["$and", "$or"], key), parts)
    if key.startswith("$"):
        raise _unknown(key)
    if not isinstance(value, Mapping):
        return _condition(key, "$eq", value)
    if not value:
        raise InputError(f"The filter on {key!r} is empty.", hint="Give an operator and a value.")
    return _joined("$and", [_condition(key, name, want) for name, want in value.items()])


def _is_filter(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _condition(key: str, operator: str, want: Any) -> Condition:
    if operator not in OPERATORS:
        raise _unknown(operator)
    listed = operator in LISTED
    if listed and (not isinstance(want, list | tuple | set | frozenset) or not want):
        raise InputError(f"{operator} on {key!r} takes a list of values, not {want!r}.")
    values = tuple(want) if listed else (want,)
    if not all(isinstance(value, str | int | float) for value in values):
        raise InputError(f"{operator} on {key!r} takes text, numbers or booleans, not {want!r}.")
    kinds = {kind_of(value) for value in values}
    if len(kinds) > 1:
        raise InputError(f"{operator} on {key!r} mixes kinds: {want!r}.", hint="Use one kind.")
    if operator in ORDERED and kinds != {"number"}:
        raise InputError(f"{operator} on {key!r} takes a number, not {want!r}.")
    return Condition(key, cast(Operator, operator), values)


def _unknown(operator: str) -> InputError:
    known = " ".join([*sorted(OPERATORS), "$and", "$or"])
    return InputError(f"Unknown filter operator {operator!r}.", hint=f"Use one of: {known}.")
