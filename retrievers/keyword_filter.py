"""Filters in the keyword index: metadata as exact terms, and filters as tantivy queries.

Every pair of key and value is one term: a hash of the key, the value's kind, and the value, which
for a number is written so that the order of terms is the order of numbers; and its first digits are
terms too. So a filter is answered by the index itself, before the cut to k.
"""

from __future__ import annotations

import hashlib
import math
import struct
from functools import lru_cache
from typing import Any

import tantivy

from ragwright.retrievers.filters import (
    NEGATED,
    ORDERED,
    WITHIN,
    Condition,
    Filter,
    Junction,
    value_kind,
)
from ragwright.retrievers.metadata import add_date_seconds
from ragwright.retrievers.types import Metadata, Scalar

FIELD = "facts"
_PAST_EVERY_DIGIT = "g"
_CUTS = (5, 7, 9)
"""A number's first so many digits are terms too: a range is then some hundreds of terms, and not as
many as there are numbers in it. Five tell 256 numbers apart up to each power of two."""
_WITHIN = "in-"


def metadata_terms(metadata: Metadata) -> list[str]:
    """Return the terms of metadata: of each pair, for a list one for each value.

    For a number its first digits too, and for a date its time.
    """
    found: list[str] = []
    for key, value in add_date_seconds(metadata).items():
        if isinstance(value, str | int | float):
            found += [_term(key, value), *_first_digits(key, value)]
        else:
            found.extend(_WITHIN + _term(key, one) for one in value)
    return found


def tantivy_filter(where: Filter, index: Any, schema: Any) -> Any:
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
    ranges = [index.parse_query(f"{FIELD}:{one}", [FIELD]) for one in _ranges(where)]
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, one) for one in ranges])


def _any_of(where: Condition, schema: Any) -> Any:
    prefix = _WITHIN if where.operator in WITHIN else ""
    wanted = [prefix + _term(where.key, value) for value in where.values]
    return tantivy.Query.term_set_query(schema, FIELD, wanted)


def _ranges(where: Condition) -> list[str]:
    """Return the ranges of terms that together hold what a condition on order asks for.

    Those of few digits lie wholly to one side of the bound, those of more fill up what is between.
    """
    digits = _digits(where.key, where.value)
    levels = [(_near(cut), digits[:cut]) for cut in _CUTS] + [("number", digits)]
    above, found, wider = where.operator in ("$gt", "$gte"), [], ""
    for kind, bound in levels:
        prefix = _prefix(where.key, kind)
        itself = kind == "number" and where.operator in ("$gte", "$lte")
        if above:
            opened = "[" if itself else "{"
            found.append(f"{opened}{prefix}{bound} TO {prefix}{wider}{_PAST_EVERY_DIGIT}]")
        else:
            closed = "]" if itself else "}"
            found.append(f"[{prefix}{wider} TO {prefix}{bound}{closed}")
        wider = bound
    return found


def _first_digits(key: str, value: Scalar) -> list[str]:
    if isinstance(value, str | bool):
        return []
    digits = _digits(key, value)
    return [_prefix(key, _near(cut)) + digits[:cut] for cut in _CUTS]


def _digits(key: str, number: Scalar) -> str:
    return _term(key, number).removeprefix(_prefix(key, "number"))


def _near(cut: int) -> str:
    return f"near{cut}-"


def _term(key: str, value: Scalar) -> str:
    kind = value_kind(value)
    if isinstance(value, str | bool):
        return _prefix(key, kind) + _hash(str(value))
    return _prefix(key, kind) + _sortable(value)


@lru_cache(maxsize=1024)
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
