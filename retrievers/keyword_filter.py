"""Filters for the keyword index: metadata in, exact terms out; a filter in, a tantivy query out.

Every pair of key and value is one term: a hash of the key, the value's kind, and the value, which
for a number is written so that the order of terms is the order of numbers. So a
filter is answered by the index itself, before the cut to k.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any

import tantivy

from ragwright.retrievers.filters import (
    NEGATED,
    ORDERED,
    WITHIN,
    Condition,
    Filter,
    Junction,
    kind_of,
)
from ragwright.retrievers.metadata import with_times
from ragwright.retrievers.types import Metadata, Scalar

FIELD = "facts"
_PAST_EVERY_NUMBER = "g"
_WITHIN = "in-"


def terms(metadata: Metadata) -> list[str]:
    """Return the term of each pair; for a list one for each value, for a date its time too."""
    found: list[str] = []
    for key, value in with_times(metadata).items():
        if isinstance(value, str | int | float):
            found.append(_term(key, value))
        else:
            found.extend(_WITHIN + _term(key, one) for one in value)
    return found


def translated(where: Filter, index: Any, schema: Any) -> Any:
    """Return a tantivy query for what passes a filter; it adds nothing to a score."""
    return tantivy.Query.const_score_query(_query(where, index, schema), 0.0)


def _query(where: Filter, index: Any, schema: Any) -> Any:
    if isinstance(where, Junction):
        occur = tantivy.Occur.Must if where.operator == "$and" else tantivy.Occur.Should
        parts = [(occur, _query(part, index, schema)) for part in where.parts]
        return tantivy.Query.boolean_query(parts)
    if where.operator in NEGATED:
        held = _any_of(where, schema)
        every = (tantivy.Occur.Must, tantivy.Query.all_query())
        return tantivy.Query.boolean_query([every, (tantivy.Occur.MustNot, held)])
    if where.operator not in ORDERED:
        return _any_of(where, schema)
    # tantivy offers a range over text through its query language alone; terms need no escaping.
    return index.parse_query(f"{FIELD}:{_range(where)}", [FIELD])


def _any_of(where: Condition, schema: Any) -> Any:
    prefix = _WITHIN if where.operator in WITHIN else ""
    wanted = [prefix + _term(where.key, value) for value in where.values]
    return tantivy.Query.term_set_query(schema, FIELD, wanted)


def _range(where: Condition) -> str:
    lowest, bound = _prefix(where.key, "number"), _term(where.key, where.value)
    highest = lowest + _PAST_EVERY_NUMBER
    match where.operator:
        case "$gt":
            return f"{{{bound} TO {highest}]"
        case "$gte":
            return f"[{bound} TO {highest}]"
        case "$lt":
            return f"[{lowest} TO {bound}}}"
    return f"[{lowest} TO {bound}]"


def _term(key: str, value: Scalar) -> str:
    kind = kind_of(value)
    if isinstance(value, str | bool):
        return _prefix(key, kind) + _hash(str(value))
    return _prefix(key, kind) + _sortable(value)


def _prefix(key: str, kind: str) -> str:
    return f"{_hash(key)}{kind}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def _sortable(number: float) -> str:
    """Write a number as hexadecimal digits in the order of numbers; -0.0 is 0.0.

    16 are those of the largest 64-bit float that is not above it; behind them stands, if there is
    any, the rest of a whole number that no float equals.
    """
    below = float(number) + 0.0
    if below > number:
        below = math.nextafter(below, -math.inf)
    (bits,) = struct.unpack(">Q", struct.pack(">d", below))
    rest = int(number) - int(below) if isinstance(number, int) else 0
    digits = f"{bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63):016x}"
    return f"{digits}{rest:03x}" if rest else digits
