"""A filter that everything retrieved inside a block must pass, whatever a program asks for.

A program of one's own need not hand a filter on to its stages; what its caller may see holds all
the same. The filter travels in DSPy's context, which crosses the threads of its executors and of
asyncio.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dspy

from ragwright.retrievers.types import Where

_WHERE = "ragwright_where"


@contextmanager
def narrowing(where: Where | None) -> Iterator[None]:
    """Let all retrievers and stages find nothing inside but what passes a filter."""
    if not where:
        yield
        return
    with dspy.context(**{_WHERE: combine_with_block_filter(where)}):
        yield


def combine_with_block_filter(where: Where | None) -> Where | None:
    """Return what passes both this filter and that of the block."""
    held: Where | None = dspy.settings.get(_WHERE)
    # Not by ==: True, 1 and 1.0 are equal in Python, and of two kinds in a filter.
    if not held or repr(held) == repr(where):
        return where
    return {"$and": [held, where]} if where else held
