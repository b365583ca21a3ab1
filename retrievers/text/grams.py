"""Takes text that is written without spaces apart: into its characters and their bigrams."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import regex

_CLUSTER = regex.compile(r"\p{L}\p{M}*|\p{M}+")


def clusters(run: str) -> list[str]:
    """Return the characters of a run, each with its marks.

    >>> clusters("\u90fd\u5e02")
    ['\u90fd', '\u5e02']
    """
    found: list[str] = _CLUSTER.findall(run)
    return found


def grams(run: str) -> Iterator[str]:
    """Yield the characters of a run and its bigrams."""
    found = clusters(run)
    yield from found
    yield from (first + second for first, second in pairwise(found))
