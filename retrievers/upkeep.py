"""Looks after an index: counts, verifies, repairs and compacts it.

The ledger is right by definition: what `findings.py` finds in another part is brought in line with
it. Nothing here reads a whole index into memory. Knows neither documents nor questions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from ragwright.retrievers.findings import PARTS, find_index_problems
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.ledger_file import PAGE
from ragwright.retrievers.lock import writer_lock
from ragwright.retrievers.parts import CHUNKS_PER_BATCH, Parts, open_parts
from ragwright.retrievers.protected import readable_folder
from ragwright.retrievers.returned import returned_chunks
from ragwright.retrievers.seen import SeenIds, batches
from ragwright.retrievers.soundness import ROTATION, damaged_index_files
from ragwright.retrievers.stamp import STAMP, Stamp
from ragwright.retrievers.types import Progress

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Stats:
    """What an index holds and what it costs.

    Attributes:
        store: The URL of its vector store.
        chunks: What is searched.
        parents: What is returned for chunks; 0 if that is the chunks themselves.
        token_rows: Token vectors of live chunks.
        dead_rows: Rows of the token file that no chunk refers to; `compact` frees them.
        bytes: Size of everything in the index's folder.
    """

    path: str
    store: str
    embedder: str
    documents: int
    chunks: int
    parents: int
    generation: int
    token_rows: int
    dead_rows: int
    bytes: int


@dataclass(slots=True)
class PartDifference:
    """How one part differs from the ledger.

    Attributes:
        missing: Chunks that it lacks.
        extra: Chunks that it holds and should not.
        wrong: Chunks whose text, metadata or token vectors are not what was written.
        examples: Ids of some of them.
    """

    missing: int = 0
    extra: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def none(self) -> bool:
        return not (self.missing or self.extra or self.wrong)


@dataclass(frozen=True, slots=True)
class Verification:
    """What comparing found: a `PartDifference` for each part, and chunks a crash left half-written.

    Attributes:
        files: Files that are not what was committed. Then no library was let at any, and nothing
            more was compared: their parts count as missing all chunks.
    """

    chunks: int
    unsettled: int
    parts: dict[str, PartDifference]
    files: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        whole = not (self.unsettled or self.files)
        return whole and all(part.none for part in self.parts.values())


@dataclass(frozen=True, slots=True)
class Repair:
    """How many chunks a part was given anew, and how many that did not belong were removed."""

    written: int
    removed: int


@dataclass(frozen=True, slots=True)
class Compaction:
    """How many rows of the token file were freed, and how many are left."""

    freed: int
    rows: int


def indexes_below(folder: str | Path) -> list[Path]:
    """Return the folders of all indexes in a folder, itself among them, in order."""
    return sorted(Path(place) for place, _, names in os.walk(folder) if STAMP in names)


def stats(path: str | Path) -> Stats:
    """Count what an index holds.

    Raises:
        IndexFault: There is no index.
    """
    folder = Path(path).resolve()
    stamp = Stamp.read(folder)
    with closing(Ledger(readable_folder(folder) / "ledger.sqlite")) as ledger:
        documents, chunks = ledger.counts()
        used = ledger.token_rows()
        return Stats(
            path=str(folder),
            store=str(stamp.store(folder)),
            embedder=stamp.settings.embedder,
            documents=documents,
            chunks=chunks,
            parents=returned_chunks(ledger, stamp.settings.chunking).parent_count,
            generation=ledger.generation,
            token_rows=used,
            dead_rows=ledger.counter("token_end") - used,
            bytes=sum(map(_size, folder.rglob("*"))),
        )


def _size(file: Path) -> int:
    """Return the bytes of a file; nothing of one that an ingest took away meanwhile."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return 0
    return found.st_size if S_ISREG(found.st_mode) else 0


def verify(path: str | Path) -> Verification:
    """Compare every part of an index with its ledger and change nothing.

    Raises:
        IndexFault: There is no index, it is being written, or a part cannot be opened at all: a
            vector store among them that is still to be filled.
    """
    folder = readable_folder(Path(path).resolve())
    found = {part: PartDifference() for part in PARTS}
    if damage := damaged_index_files(folder):
        return _damaged(folder, damage)
    with writer_lock(folder), open_parts(folder, Stamp.read(folder), create=False) as parts:
        for part, kind, ids in find_index_problems(parts):
            difference = found[part]
            setattr(difference, kind, getattr(difference, kind) + len(ids))
            difference.examples.extend(ids[: SHOWN - len(difference.examples)])
        _, chunks = parts.ledger.counts()
        return Verification(chunks, parts.ledger.unsettled_count, found)


def _damaged(folder: Path, damage: Mapping[str, list[str]]) -> Verification:
    with writer_lock(folder), closing(Ledger(folder / "ledger.sqlite")) as ledger:
        _, chunks = ledger.counts()
        unsettled = ledger.unsettled_count
    hit = {"tokens" if part == ROTATION else part for part in damage}
    parts = {part: PartDifference(missing=chunks if part in hit else 0) for part in PARTS}
    files = tuple(sorted(file for files in damage.values() for file in files))
    return Verification(chunks, unsettled, parts, files)


def repair(path: str | Path, *, progress: Progress | None = None) -> Repair:
    """Bring every part in line with the ledger; only damaged chunks are embedded again.

    A vector store that cannot read its own files any more is emptied and filled.

    Args:
        path: The folder of the index.
        progress: Called with how many chunks are written, and of how many.

    Raises:
        IndexFault: There is no index, it is being written, or the ledger itself is damaged.
    """
    folder = Path(path).resolve()
    show = progress or (lambda _, __: None)
    with ExitStack() as stack:
        stack.enter_context(writer_lock(folder))
        parts = stack.enter_context(open_parts(folder, Stamp.read(folder), thorough=True))
        restored = parts.settle(show)
        again, gone = (stack.enter_context(SeenIds()) for _ in range(2))
        for _, kind, ids in find_index_problems(parts):
            (gone if kind == "extra" else again).update(ids)
        for page in batches(gone, PAGE):
            parts.store.delete(page)
            parts.own.forget(page)
            parts.keyword.write((), deleted=page)
        for number, page in enumerate(batches(again, CHUNKS_PER_BATCH)):
            # A store may keep what a new row lacks, so a damaged one goes first.
            parts.store.delete(page)
            parts.fill([record.chunk for record in parts.ledger.records(page).values()])
            show(number * CHUNKS_PER_BATCH + len(page), len(again))
        if again or gone:
            with parts.ledger.transaction():
                parts.ledger.bump()
        return Repair(written=restored + len(again), removed=len(gone))


def compact(path: str | Path, *, progress: Progress | None = None) -> Compaction:
    """Rewrite the token file without its dead rows, and shrink the ledger's file.

    Readers go on: they keep the old file until they look at the ledger again.

    Args:
        path: The folder of the index.
        progress: Called with how many chunks a damaged vector store was given, and of how many.

    Raises:
        IndexFault: There is no index, it is being written, or the disk is full.
    """
    folder = Path(path).resolve()
    with writer_lock(folder), open_parts(folder, Stamp.read(folder)) as parts:
        parts.settle(progress or (lambda _, __: None))
        ledger, vectors = parts.ledger, parts.vectors
        source, before = ledger.counter("token_file"), ledger.counter("token_end")
        target = source + 1
        vectors.path(target).unlink(missing_ok=True)
        with ledger.transaction():
            end = _copied(parts, source, target)
            ledger.set_counter("token_file", target)
            ledger.set_counter("token_end", end)
            ledger.bump()
        for file in folder.glob("tokens-*.bin"):
            if file != vectors.path(target):
                file.unlink()
        parts.own.compact()
        ledger.vacuum()
        return Compaction(freed=before - end, rows=end)


def _copied(parts: Parts, source: int, target: int) -> int:
    end = 0
    parts.vectors.copy([], source=source, target=target, start=0)
    for page in batches(parts.ledger.all_records(), PAGE):
        spans = [record.span for record in page]
        moved = parts.vectors.copy(spans, source=source, target=target, start=end)
        ids = (record.chunk.id for record in page)
        parts.ledger.set_spans(zip(ids, moved, strict=True))
        end += sum(span.count for span in spans)
    return end
