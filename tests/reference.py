"""Plain, slow definitions to compare with: what a filter means, what the nearest vectors are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.filters import WITHIN, Condition, Filter, Junction, value_kind


def passes(metadata: Mapping[str, Any], where: Filter) -> bool:
    """Tell whether metadata passes a filter, as Chroma means it."""
    if isinstance(where, Junction):
        parts = [passes(metadata, part) for part in where.parts]
        return all(parts) if where.operator == "$and" else any(parts)
    if where.operator in WITHIN:
        held = metadata.get(where.key)
        found = isinstance(held, list) and any(
            value_kind(one) == where.kind and one == where.value for one in held
        )
        return found == (where.operator == "$contains")
    if where.operator in {"$ne", "$nin"}:
        return not _among(metadata, where)
    if where.operator in {"$eq", "$in"}:
        return _among(metadata, where)
    have, want = metadata.get(where.key), where.value
    if not isinstance(have, int | float) or isinstance(have, bool) or isinstance(want, str):
        return False
    return {
        "$gt": have > want,
        "$gte": have >= want,
        "$lt": have < want,
        "$lte": have <= want,
    }[where.operator]


def _among(metadata: Mapping[str, Any], where: Condition) -> bool:
    have = metadata.get(where.key)
    same_kind = have is not None and not isinstance(have, list) and value_kind(have) == where.kind
    return same_kind and have in where.values


def nearest(vectors: Mapping[str, Floats], query: Floats, n: int) -> dict[str, float]:
    """Return the n ids with the highest cosine, best first."""
    ids = list(vectors)
    table = np.stack([vectors[id] / np.linalg.norm(vectors[id]) for id in ids])
    cosines = table @ (query / np.linalg.norm(query))
    return {ids[at]: float(cosines[at]) for at in np.argsort(-cosines, kind="stable")[:n]}
