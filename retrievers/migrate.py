"""Copies one vector store into another, and proves that they are equal.

Vectors, texts, metadata and the note of identity go over as they are: nothing is embedded. What a
copy that was cut short left behind is used by the next one. Knows stores, not documents; how they
are compared is in `proof.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.lock import writer_lock
from ragwright.retrievers.proof import Proof
from ragwright.retrievers.seen import SeenIds, batches
from ragwright.retrievers.soundness import note_vector_store
from ragwright.retrievers.stamp import Stamp, claim_store, noted_dimension, read_note
from ragwright.retrievers.stores.base import StoreURL, VectorStore
from ragwright.retrievers.stores.opening import open_store
from ragwright.retrievers.sums import IndexChecksums
from ragwright.retrievers.types import Progress

PAGE = 1000
SAME = 1e-5


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


def copy_collection(source: str, target: str, *, progress: Progress | None = None) -> CopyReport:
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


def move_index(index: str | Path, target: str, *, progress: Progress | None = None) -> CopyReport:
    """Copy the vectors of an index to another store, and make the index use that one.

    Raises:
        InputError: The URL is of no known form.
        IndexFault: As for `copy_collection`, or the index is being written.
    """
    folder = Path(index).resolve()
    place = StoreURL.parse(target).beside(Path.cwd())
    with writer_lock(folder), closing(Ledger(folder / "ledger.sqlite")) as ledger:
        stamp = Stamp.read(folder)
        graph = stamp.settings.graph
        if not (place.kind == "qdrant" and place.remote):  # what such a server alone does
            graph = graph.model_copy(update={"quantization": "none", "on_disk": False})
        place = replace(place, graph=graph)
        report = _copy(stamp.store(folder), place, progress or _silent)
        settings = stamp.settings.model_copy(update={"store": str(place), "graph": graph})
        moved = stamp.model_copy(update={"settings": settings})
        moved.write(folder)
        note_vector_store(IndexChecksums(folder), folder, moved)
        with ledger.transaction():
            ledger.bump()
    return report


def _silent(rows: int, total: int) -> None:
    """Tell nobody."""


def _copy(source: StoreURL, target: StoreURL, progress: Progress) -> CopyReport:
    if source == target:
        raise IndexFault(f"{str(source)!r} cannot be copied to itself.", hint="Name another store.")
    with closing(open_store(source, dimension=None)) as left:
        note, dimension = _note_on(left, source)
        with closing(open_store(target, dimension=dimension, create=True)) as right:
            claim_store(right, target, note)
            report = _Copying(left, right, progress).run(str(source), str(target))
            if not report.equal:
                raise IndexFault(
                    f"The copy differs from its source: {report}.",
                    hint="Delete the collection that it was copied to, and copy again.",
                )
            right.set_stamp(note)
    return report


def _note_on(store: VectorStore, place: StoreURL) -> tuple[str, int]:
    """Return the note of a store that says that it holds all its vectors, and their length."""
    note = store.stamp()
    dimension = noted_dimension(note)
    if dimension is None:
        raise IndexFault(
            f"The vector store {str(place)!r} does not say what made its vectors.",
            hint="Only what `rag ingest` made can be copied.",
        )
    if not read_note(note).get("whole", True):
        raise IndexFault(
            f"The vector store {str(place)!r} does not hold all its vectors yet.",
            hint="Let the ingest, `rag index repair` or the copy that writes it finish first.",
        )
    return note, dimension


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
            proof = Proof(self._source, self._target, wanted)
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
        for page in batches(wanted, PAGE):
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
        for page in batches(ids, PAGE):
            self._target.delete(page)
            removed += len(page)
        return removed
