"""Metadata and a `where` filter in, a yes or no out: Chroma's filter language as a pure function.

Operators: `$eq $ne $gt $gte $lt $lte $in $nin $and $or`; a bare value means `$eq`. A key that the
metadata lacks matches `$ne` and `$nin` only, as in Chroma.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from retrievers.errors import InputError
from retrievers.types import Metadata

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda have, want: bool(have == want),
    "$gt": lambda have, want: bool(have > want),
    "$gte": lambda have, want: bool(have >= want),
    "$lt": lambda have, want: bool(have < want),
    "$lte": lambda have, want: bool(have <= want),
    "$in": lambda have, want: have in want,
}
_NEGATED = {"$ne": "$eq", "$nin": "$in"}


def matches(metadata: Metadata, where: Mapping[str, Any]) -> bool:
    """Tell whether metadata passes a filter.

    Raises:
        InputError: The filter uses an unknown operator.
    """
    return all(_clause(metadata, key, condition) for key, condition in where.items())


def _clause(metadata: Metadata, key: str, condition: Any) -> bool:
    if key == "$and":
        return all(matches(metadata, part) for part in condition)
    if key == "$or":
        return any(matches(metadata, part) for part in condition)
    if key.startswith("$"):
        raise _unknown(key)
    if not isinstance(condition, Mapping):
        condition = {"$eq": condition}
    return all(_holds(metadata, key, name, want) for name, want in condition.items())


def _holds(metadata: Metadata, key: str, operator: str, want: Any) -> bool:
    if operator in _NEGATED:
        return not _holds(metadata, key, _NEGATED[operator], want)
    if operator not in _COMPARE:
        raise _unknown(operator)
    if key not in metadata:
        return False
    have = metadata[key]
    ordered = operator in {"$gt", "$gte", "$lt", "$lte"}
    if ordered and isinstance(have, str) != isinstance(want, str):
        return False
    return _COMPARE[operator](have, want)


def _unknown(operator: str) -> InputError:
    known = " ".join([*_COMPARE, *_NEGATED, "$and", "$or"])
    return InputError(f"Unknown filter operator {operator!r}.", hint=f"Use one of: {known}.")
