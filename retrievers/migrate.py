"""Two vector stores in; one copied into the other, and a proof that they are equal out.

Vectors, texts, metadata and the note of identity go over as they are: nothing is embedded. What a
copy that was cut short left behind is used by the next one. Knows stores, not documents.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from retrievers.embedding import Floats
from retrievers.errors import IndexFault
from retrievers.ledger import Ledger
from retrievers.lock import writing
from retrievers.seen import SeenIds, pages
from retrievers.stamp import Stamp
from retrievers.stores.base import Row, StoreURL, VectorStore
from retrievers.stores.opening import open_store
from retrievers.types import hash_of

PAGE = 1000
QUERIES = 50
DEPTH = 10
NOISE = 0.5
"""A sample query is a stored vector plus noise of this length, so that it is none of them."""
SAME = 1e-5

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied, and how alike the two stores are afterwards.

    Attributes:
        copied: Rows written to the target.
        kept: Rows that were there already.
        removed: Rows of the target that the source does not have.
        checksums: Of ids, texts and metadata: the source's and the target's.
        vector_error: The largest difference of a coordinate.
        overlap: The share of the 10 nearest by exact search that each store finds, over the
            sample queries: the source's and the target's.
        rank_correlation: Spearman's, of the order in which both rank what both find.
    """

    source: str
    target: str
    rows: int
    target_rows: int
    copied: int
    kept: int
    removed: int
    checksums: tuple[str, str]
    vector_error: float
    overlap: tuple[float, float]
    rank_correlation: float

    @property
    def equal(self) -> bool:
        """Whether the target holds the same rows."""
        same = self.rows == self.target_rows and self.checksums[0] == self.checksums[1]
        return same and self.vector_error <= SAME


def copy(source: str, target: str, *, progress: Progress | None = None) -> CopyReport:
    """Make a collection hold exactly the rows of another.

    Args:
        source: The URL of the store to read.
        target: The URL of the store to write; its collection is made if it is missing.
        progress: Called with the number of rows seen so far, and of all.

    Raises:
        InputError: A URL is of no known form.
        IndexFault: A store fails, the source has no note of identity, the target holds another
            index's vectors, or the two are not equal in the end.
    """
    places = StoreURL.parse(source).beside(Path.cwd()), StoreURL.parse(target).beside(Path.cwd())
    return _copy(*places, progress or _silent)


def move(index: str | Path, target: str, *, progress: Progress | None = None) -> CopyReport:
    """Copy the vectors of an index to another store, and make the index use that one.

    Raises:
        InputError: The URL is of no known form.
        IndexFault: As for `copy`, or the index is being written.
    """
    folder = Path(index).resolve()
    place = StoreURL.parse(target).beside(Path.cwd())
    with writing(folder), closing(Ledger(folder / "ledger.sqlite")) as ledger:
        stamp = Stamp.read(folder)
        report = _copy(stamp.store(folder), place, progress or _silent)
        settings = stamp.settings.model_copy(update={"store": str(place)})
        stamp.model_copy(update={"settings": settings}).write(folder)
        with ledger.transaction():
            ledger.bump()
    return report


def _silent(rows: int, total: int) -> None:
    """Tell nobody."""


def _copy(source: StoreURL, target: StoreURL, progress: Progress) -> CopyReport:
    if source == target:
        raise IndexFault(f"{str(source)!r} cannot be copied to itself.", hint="Name another store.")
    with closing(open_store(source, dimension=None)) as left:
        note = left.stamp()
        if not note:
            raise IndexFault(
                f"The vector store {str(source)!r} does not say what made its vectors.",
                hint="Only what `rag ingest` made can be copied.",
            )
        dimension = int(json.loads(note)["dimension"])
        with closing(open_store(target, dimension=dimension, create=True)) as right:
            if right.stamp() not in {"", note}:
                raise IndexFault(
                    f"The vector store {str(target)!r} holds another index's vectors.",
                    hint="Choose another collection: append #NAME to its URL.",
                )
            right.set_stamp(note)
            report = _Copying(left, right, progress).run(str(source), str(target))
    if not report.equal:
        raise IndexFault(
            f"The copy differs from its source: {report}.",
            hint="Delete the collection that it was copied to, and copy again.",
        )
    return report


class _Copying:
    """One copy between two open stores."""

    def __init__(self, source: VectorStore, target: VectorStore, progress: Progress) -> None:
        self._source = source
        self._target = target
        self._progress = progress

    def run(self, source: str, target: str) -> CopyReport:
        with SeenIds(self._source.ids()) as wanted:
            with SeenIds(self._target.ids()) as present:
                copied = self._write(wanted, present)
                removed = self._remove(id for id in present if id not in wanted)
                kept = len(present) - removed
            proof = _Proof(self._source, self._target, wanted)
            with SeenIds(self._target.ids()) as held:
                rows = len(wanted), len(held)
            overlap, correlation = proof.searches()
            checksums, error = proof.rows()
            return CopyReport(
                source, target, *rows, copied, kept, removed, checksums, error, overlap, correlation
            )

    def _write(self, wanted: SeenIds, present: SeenIds) -> int:
        copied = seen = 0
        total = len(wanted)
        for page in pages(wanted, PAGE):
            ids = [id for id in page if id not in present]
            rows = self._source.fetch(ids)
            found = [id for id in ids if id in rows]
            if found:
                vectors = np.stack([rows[id].vector for id in found])
                texts = [rows[id].text for id in found]
                self._target.upsert(found, vectors, texts, [rows[id].metadata for id in found])
            copied += len(found)
            seen += len(page)
            self._progress(seen, total)
        return copied

    def _remove(self, ids: Iterable[str]) -> int:
        removed = 0
        for page in pages(ids, PAGE):
            self._target.delete(page)
            removed += len(page)
        return removed


class _Proof:
    """Compares two stores row by row, and by sample queries with an exact search."""

    def __init__(self, source: VectorStore, target: VectorStore, ids: SeenIds) -> None:
        self._source = source
        self._target = target
        self._ids = ids

    def rows(self) -> tuple[tuple[str, str], float]:
        """Return both checksums, and the largest difference of a coordinate."""
        error = 0.0

        def written(row: Row | None) -> str:
            return json.dumps([row.text, row.metadata], sort_keys=True) if row else ""

        hashes = ["", ""]
        for page in pages(self._ids, PAGE):
            left, right = self._source.fetch(page), self._target.fetch(page)
            for side, rows in enumerate((left, right)):
                parts = (part for id in page for part in (id, written(rows.get(id))))
                hashes[side] = hash_of([hashes[side], *parts])
            both = left.keys() & right.keys()
            gaps = (np.abs(left[id].vector - right[id].vector).max() for id in both)
            error = max(error, *map(float, gaps)) if both else error
        return (hashes[0], hashes[1]), error

    def searches(self) -> tuple[tuple[float, float], float]:
        """Return both overlaps with an exact search, and the rank correlation of both."""
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
        for page in pages(self._ids, PAGE):
            rows = self._source.fetch(page)
            ids = list(rows)
            cosines = _unit(queries) @ _unit(np.stack([rows[id].vector for id in ids])).T
            for number, scores in enumerate(cosines):
                top = [(float(scores[at]), ids[at]) for at in np.argsort(-scores)[:DEPTH]]
                best[number] = sorted([*best[number], *top], reverse=True)[:DEPTH]
        return [[id for _, id in row] for row in best]


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
