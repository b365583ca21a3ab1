"""Excerpts and chunks of one text as spans of characters in, precision-omega and recall out.

Definitions as in the code of Chroma's technical report on chunking (July 2024), github
brandonstarxel/chunking_evaluation, base_evaluation.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the union of spans; touching ones become one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def length(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)


def common(some: Iterable[Span], others: Sequence[Span]) -> list[Span]:
    """Return what both cover. Spans that touch have an empty part in common, as in the report."""
    cuts = [(max(a, c), min(b, d)) for a, b in some for c, d in others]
    return merged((start, end) for start, end in cuts if start <= end)


def precision_omega(excerpts: Sequence[Span], chunks: Sequence[Span]) -> float:
    """Return the precision if all chunks that touch an excerpt, and no others, were retrieved."""
    touching = [span for span in chunks if common([span], excerpts)]
    covered = length(common(touching, excerpts))
    missed = length(excerpts) - covered
    return covered / (length(merged(touching)) + missed) if touching else 0.0


def recall(excerpts: Sequence[Span], retrieved: Sequence[Span]) -> float:
    """Return how much of the excerpts the retrieved chunks cover."""
    return length(common(retrieved, excerpts)) / length(excerpts)
