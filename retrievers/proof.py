"""Measures how alike two vector stores are: row by row, and in what a search finds.

It says what it measured, for `migrate.py` to judge. Reads a page of rows at a time; knows neither
what was copied nor what the vectors mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice

import numpy as np

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.metadata import with_float_lists
from ragwright.retrievers.seen import SeenIds, batches
from ragwright.retrievers.stores.base import StoreRow, VectorStore
from ragwright.retrievers.types import hash_parts

PAGE = 1000
QUERIES = 50
DEPTH = 10
NOISE = 0.5
"""A sample query is a stored vector plus noise of this length, so that it is none of them."""


class Proof:
    """Compares two stores row by row, and by sample queries with an exact search.

    Args:
        source: The one that is right.
        target: The other.
        ids: The ids of the source's rows.
    """

    def __init__(self, source: VectorStore, target: VectorStore, ids: SeenIds) -> None:
        self._source = source
        self._target = target
        self._ids = ids

    def rows(self) -> tuple[tuple[str, str], float]:
        """Return both checksums, and the largest difference of a coordinate.

        A checksum is of ids, texts and metadata, with those of the source first. What one store
        lacks makes it differ; vectors are compared where both have one.

        Raises:
            IndexFault: A store fails.
        """
        error = 0.0
        hashes = ["", ""]
        for page in batches(self._ids, PAGE):
            left, right = self._source.fetch(page), self._target.fetch(page)
            for side, rows in enumerate((left, right)):
                parts = (part for id in page for part in (id, _written(rows.get(id))))
                hashes[side] = hash_parts([hashes[side], *parts])
            both = left.keys() & right.keys()
            gaps = (np.abs(left[id].vector - right[id].vector).max() for id in both)
            error = max(error, *map(float, gaps)) if both else error
        return (hashes[0], hashes[1]), error

    def searches(self) -> tuple[tuple[float, float], float]:
        """Return both overlaps with an exact search, and the rank correlation of both.

        Raises:
            IndexFault: A store fails.
        """
        queries = self._queries()
        if not len(queries):
            return (1.0, 1.0), 1.0
        exact = self._exact(queries)
        found = [[list(s.query(q, DEPTH)) for q in queries] for s in (self._source, self._target)]
        left, right = (_overlap(side, exact) for side in found)
        correlations = [_spearman(a, b) for a, b in zip(*found, strict=True)]
        return (left, right), float(np.mean(correlations))

    def _queries(self) -> Floats:
        step = max(1, len(self._ids) // QUERIES)
        ids = list(islice(self._ids, 0, QUERIES * step, step))
        if not ids:
            return np.zeros((0, 0), dtype=np.float32)
        rows = self._source.fetch(ids)
        stored = np.stack([rows[id].vector for id in ids])
        drawn = np.random.default_rng(0).standard_normal(stored.shape)
        noise = NOISE * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        return np.asarray(_unit(stored) + noise, dtype=np.float32)

    def _exact(self, queries: Floats) -> list[list[str]]:
        """Compute every cosine, page by page, and keep the ids of the best."""
        best: list[list[tuple[float, str]]] = [[] for _ in queries]
        for page in batches(self._ids, PAGE):
            rows = self._source.fetch(page)
            ids = list(rows)
            cosines = _unit(queries) @ _unit(np.stack([rows[id].vector for id in ids])).T
            for number, scores in enumerate(cosines):
                top = [(float(scores[at]), ids[at]) for at in np.argsort(-scores)[:DEPTH]]
                best[number] = sorted([*best[number], *top], reverse=True)[:DEPTH]
        return [[id for _, id in row] for row in best]


def _written(row: StoreRow | None) -> str:
    return json.dumps([row.text, with_float_lists(row.metadata)], sort_keys=True) if row else ""


def _overlap(found: Sequence[list[str]], exact: Sequence[list[str]]) -> float:
    shares = [len({*a} & {*b}) / len(b) for a, b in zip(found, exact, strict=True)]
    return float(np.mean(shares))


def _spearman(one: Sequence[str], other: Sequence[str]) -> float:
    """Spearman's rank correlation over what is in both; 1 for fewer than two."""
    common = [id for id in one if id in set(other)]
    if len(common) < 2:
        return 1.0
    ranks = np.argsort(np.argsort([other.index(id) for id in common]))
    gaps = ranks - np.arange(len(common))
    count = len(common)
    return 1 - 6 * float(np.sum(gaps**2)) / (count * (count**2 - 1))


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
