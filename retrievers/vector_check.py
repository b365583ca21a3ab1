"""Checks that an embedder made the vectors of given texts, by embedding them again.

The embedder embeds the texts again: the cosines tell. Knows no store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ragwright.retrievers.embedding import Embedder
from ragwright.retrievers.errors import IdentityError
from ragwright.retrievers.layouts import OwnedRow

SAME = 0.99
"""The least cosine: precisions and engines differ by less, models by far more."""


def check_vectors(
    rows: Sequence[tuple[OwnedRow, Sequence[float]]], embedder: Embedder, name: str, place: str
) -> None:
    """Make sure that an embedder made the vectors of these rows.

    Args:
        rows: Rows, each with its vector.
        embedder: What may have made them.
        name: What errors call it.
        place: What errors call the collection.

    Raises:
        IdentityError: It did not; the error says how far off it is.
    """
    dimension, held = embedder.identity.dimension, {len(vector) for _, vector in rows}
    if held != {dimension}:
        found = ", ".join(map(str, sorted(held)))
        raise IdentityError(
            f"The vectors of {place!r} have {found} dimensions, those of {name} have {dimension}.",
            hint="Name what made them: embedder=..., or --embedder.",
        )
    cosines = [_cosine(row, vector, embedder) for row, vector in rows]
    off = [cosine for cosine in cosines if not cosine >= SAME]
    if off:
        raise IdentityError(
            f"{name} did not make the vectors of {place!r}: of {len(cosines)} texts embedded again "
            f"{len(off)} differ, with cosines from {min(cosines):.3f} to {max(cosines):.3f} where "
            f"at least {SAME} is expected.",
            hint="Name what made them: embedder=..., or --embedder. If texts were embedded with "
            "something before them, write an Embedder that does so: module:Class.",
        )


def mean_length(vectors: Iterable[Sequence[float]]) -> float:
    """Return the mean length of vectors; 1.0 for vectors that are scaled to it."""
    mean = float(np.mean([np.linalg.norm(vector) for vector in vectors]))
    return 1.0 if abs(mean - 1) < 1e-3 or not mean else mean


def _cosine(row: OwnedRow, vector: Sequence[float], embedder: Embedder) -> float:
    """Return the best cosine of what may have been embedded; the likeliest text mostly is it."""
    best = -1.0
    for text in row.embedded:
        made = embedder.encode([text]).vectors[0]
        lengths = float(np.linalg.norm(made)) * float(np.linalg.norm(vector))
        best = max(best, float(np.dot(made, vector)) / lengths if lengths else -1.0)
        if best >= SAME:
            break
    return best
