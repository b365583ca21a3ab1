"""How rows and filters are written as a Weaviate collection's properties, and rows read back.

Rows and parsed filters go in; properties, their declarations and Weaviate's own filters come out.
Weaviate wants one type for each property, so a metadata key becomes one property for each kind of
its values: `number_year`, `text_lang`. The text and a JSON copy of the metadata lie beside them.
Asks no server: whoever calls tells which properties there are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Literal

import numpy as np

from ragwright.retrievers.filters import (
    NEGATED,
    ORDERED,
    WITHIN,
    Condition,
    Filter,
    Junction,
    ValueKind,
    value_kind,
)
from ragwright.retrievers.stores.base import StoreRow
from ragwright.retrievers.types import Metadata, Scalar

TEXT, FACTS = "text", "facts"
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_]{1,100}")


def row_properties(text: str, facts: Metadata) -> dict[str, Any]:
    """Return the properties of a row."""
    row: dict[str, Any] = {TEXT: text, FACTS: json.dumps(dict(facts))}
    for key, value in facts.items():
        if isinstance(value, str | int | float):
            row[_name(key, value_kind(value))] = _stored(value)
        else:
            row[_list_name(key)] = [_word(one) for one in value]
    return row


def row_from_properties(vector: Sequence[float], properties: Mapping[str, Any]) -> StoreRow:
    """Return the row of a vector, shape (d,), and its `TEXT` and `FACTS`."""
    facts = json.loads(properties[FACTS])
    return StoreRow(np.asarray(vector, dtype=np.float32), properties[TEXT], facts)


def property_kinds(metadata: Sequence[Metadata]) -> dict[str, ValueKind | Literal["list"]]:
    """Return the properties that rows with this metadata need, with their kinds."""
    found: dict[str, ValueKind | Literal["list"]] = {}
    for facts in metadata:
        for key, value in facts.items():
            if isinstance(value, str | int | float):
                found[_name(key, value_kind(value))] = value_kind(value)
            else:
                found[_list_name(key)] = "list"
    return found


def declare_property(
    name: str, kind: ValueKind | Literal["list"], *, filterable: bool = True
) -> Any:
    """Return the declaration of a property: left to itself, Weaviate would guess its type."""
    from weaviate.classes.config import DataType, Property, Tokenization

    number = kind == "number"
    text = DataType.TEXT_ARRAY if kind == "list" else DataType.TEXT
    return Property(
        name=name,
        data_type=DataType.NUMBER if number else text,
        index_filterable=filterable,
        index_searchable=False,
        tokenization=None if number else Tokenization.FIELD,
    )


def weaviate_filter(where: Filter, has: Callable[[str], bool]) -> Any:
    """Turn a filter into Weaviate's.

    Args:
        where: The filter.
        has: Tells whether the collection has a property of a name; Weaviate fails without.

    Returns:
        A filter of the client, or True or False where the properties alone decide it.
    """
    if isinstance(where, Condition):
        return _condition(where, has)
    parts = [weaviate_filter(part, has) for part in where.parts]
    deciding = where.operator == "$or"
    if deciding in parts:
        return deciding
    open_parts = [part for part in parts if not isinstance(part, bool)]
    return _joined(where, open_parts) if open_parts else not deciding


def _condition(where: Condition, has: Callable[[str], bool]) -> Any:
    from weaviate.classes.query import Filter as Where

    within, negated = where.operator in WITHIN, where.operator in NEGATED
    name = _list_name(where.key) if within else _name(where.key, where.kind)
    if not has(name):
        return negated
    found = Where.by_property(name)
    if within:
        held = found.contains_any([_word(where.value)])
        return Where.not_(held) if negated else held
    values = [_stored(value) for value in where.values]
    if where.operator in ORDERED:
        return _ordered(found, where.operator)(values[0])
    if negated:
        # Weaviate inverts the set of equal ones, so what lacks the property is in it.
        return reduce(lambda a, b: a & b, (found.not_equal(value) for value in values))
    return reduce(lambda a, b: a | b, (found.equal(value) for value in values))


def _ordered(found: Any, operator: str) -> Any:
    return {
        "$gt": found.greater_than,
        "$gte": found.greater_or_equal,
        "$lt": found.less_than,
        "$lte": found.less_or_equal,
    }[operator]


def _joined(where: Junction, parts: Sequence[Any]) -> Any:
    from weaviate.classes.query import Filter as Where

    if len(parts) == 1:
        return parts[0]
    return Where.all_of(list(parts)) if where.operator == "$and" else Where.any_of(list(parts))


def _list_name(key: str) -> str:
    return _name(key, "list")


def _word(value: Scalar) -> str:
    """Write a value of a list as a word that says its kind: one property is of one type."""
    return f"{value_kind(value)}:{_stored(value)}"


def _name(key: str, kind: ValueKind | Literal["list"]) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return f"{kind}_{key}"
    return f"{kind}__{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"


def _stored(value: Scalar) -> str | float:
    """Numbers are floats, and booleans words: the client cannot filter on booleans."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else float(value)
