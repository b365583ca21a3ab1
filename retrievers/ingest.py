"""Writes documents into an index: incremental, idempotent, safe to kill at any moment.

Documents go through in batches. A batch enters the ledger as `writing`, then the vector store, the
keyword index and the token vectors, and in one ledger transaction becomes `live` while the chunks
it replaces become `dead` and are then deleted. Whatever a crash leaves `writing` or `dead` is
removed at the next ingest, and a vector store that it ruined is filled anew. Knows how to write an
index, not how to search it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ragwright.retrievers.accepting import accept_document
from ragwright.retrievers.advice import ledger_advice
from ragwright.retrievers.argument_checks import check_list, folder_as_text, short_repr
from ragwright.retrievers.cluster import Crew
from ragwright.retrievers.distributed import ClusterWorkers
from ragwright.retrievers.documents.source import SourceDocuments
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.ingest_workers import Batch, CutDocument, IngestWorker, LocalWorker
from ragwright.retrievers.late import TokenCodes
from ragwright.retrievers.lock import writer_lock
from ragwright.retrievers.metadata import has_unstorable_characters
from ragwright.retrievers.parts import CHUNKS_PER_BATCH, Parts, open_parts, write_or_check_stamp
from ragwright.retrievers.seen import SeenIds, batches
from ragwright.retrievers.stamp import STAMP, IndexSettings, Stamp
from ragwright.retrievers.types import Document

DOCUMENTS_PER_BATCH = 100


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far an ingest has come.

    Attributes:
        documents: Documents read so far.
        chunks: Chunks written so far.
        restored: Chunks given back, before any document is read, to a vector store that lost them.
        to_restore: How many those will be.
    """

    documents: int = 0
    chunks: int = 0
    restored: int = 0
    to_restore: int = 0


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did.

    Attributes:
        added: Documents that were new.
        changed: Documents whose text, title or metadata differed.
        deleted: Documents that are gone from the source.
        unchanged: Documents that cost nothing.
        kept: Documents that stay though they did not come: what they were read from is still
            there, and cannot be read now.
        chunks_written: Chunks stored.
        chunks_deleted: Chunks removed.
        restored: Chunks given back to a vector store that had lost them, in a crash for example.
        embedded: Texts that were embedded, those that semantic chunking asks for among them; other
            vectors were in the cache.
        engine: What embeds: "openvino bfloat16", say; empty where no embedder was loaded.
        seconds: Wall-clock time.
        advice: What the user should know of the index: see `advice.py`.
    """

    added: int
    changed: int
    deleted: int
    unchanged: int
    chunks_written: int
    chunks_deleted: int
    restored: int
    embedded: int
    engine: str
    seconds: float
    advice: tuple[str, ...] = ()
    kept: int = 0


IngestListener = Callable[[IngestProgress], None]


def ingest(
    documents: Iterable[Document],
    path: str | Path,
    settings: IndexSettings | None = None,
    *,
    progress: IngestListener | None = None,
    crew: Crew | None = None,
) -> IngestReport:
    """Make an index hold exactly these documents.

    Args:
        documents: The whole collection; documents of the index that are not among them are
            deleted from it.
        path: The folder of the index; made if it is missing.
        settings: How to make it. An existing index must have been made the same way.
        progress: Called after every batch.
        crew: Workers that read, cut and embed (`cluster.py`); this process alone writes. The index
            is the same.

    Raises:
        ClusterError: The crew is lost; what was committed is kept.
        IdentityError: The index there was made with other settings.
        IndexFault: Another process is writing it, or a part of it is damaged.
        InputError: Two documents have the same id, or there is none, or an argument is of a wrong
            kind.
    """
    _check(documents, settings)
    folder = Path(folder_as_text(path))
    with _running(folder, Stamp.of(settings or IndexSettings()), progress, crew) as run:
        return run.done(partial(run.hold_only, documents))


def upsert_documents(
    documents: Iterable[Document],
    path: str | Path,
    settings: IndexSettings | None = None,
    *,
    progress: IngestListener | None = None,
    crew: Crew | None = None,
) -> IngestReport:
    """Add documents to an index, in place of those it holds by the same ids; all others stay.

    What it costs grows with what is handed in, and hardly with the index. A later `ingest` of
    another collection deletes what is not in that.

    Args:
        documents: What to add.
        path: The folder of the index; made if it is missing.
        settings: How to make it; None for what an existing index was made with.
        progress: Called after every batch.
        crew: As `ingest` takes it.

    Raises:
        As `ingest` does.
    """
    _check(documents, settings)
    folder = Path(folder_as_text(path))
    there = (folder / STAMP).exists()
    own = Stamp.read(folder).settings if there and settings is None else settings
    with _running(folder, Stamp.of(own or IndexSettings()), progress, crew) as run:
        return run.done(partial(run.hold_too, documents))


def delete_documents(
    ids: Iterable[str], path: str | Path, *, missing_ok: bool = False
) -> IngestReport:
    """Delete documents from an index; all others stay. No embedder is loaded.

    Args:
        ids: The documents' ids.
        path: The folder of the index.
        missing_ok: Pass over ids that it does not hold.

    Raises:
        IndexFault: There is no index, another process is writing it, or a part of it is damaged.
        InputError: It holds no document of an id; then none is deleted.
    """
    check_list("ids", ids)
    folder = Path(folder_as_text(path))
    with _running(folder, Stamp.read(folder), None) as run:
        return run.done(partial(run.drop, list(ids), missing_ok=missing_ok))


def _check(documents: object, settings: object) -> None:
    if not isinstance(documents, Iterable) or isinstance(documents, str | bytes):
        raise InputError(
            f"The documents are {type(documents).__name__}, not a list of documents.",
            hint="Give [Document(id, text), ...], or read_documents(SOURCE) for files.",
        )
    if not isinstance(settings, IndexSettings | None):
        raise InputError(
            f"The settings are {type(settings).__name__}, not IndexSettings.",
            hint='Give IndexSettings(embedder="...", chunking=ChunkSettings(...)).',
        )


@contextmanager
def _running(
    folder: Path, stamp: Stamp, progress: IngestListener | None, crew: Crew | None = None
) -> Iterator[_Run]:
    with writer_lock(folder), open_parts(folder, write_or_check_stamp(folder, stamp)) as parts:
        hands: IngestWorker = LocalWorker(parts) if crew is None else ClusterWorkers(parts, crew)
        yield _Run(parts, hands, progress or (lambda _: None))


@dataclass
class _IngestCounts:
    added: int = 0
    changed: int = 0
    deleted: int = 0
    unchanged: int = 0
    chunks_written: int = 0
    chunks_deleted: int = 0
    restored: int = 0
    kept: int = 0


class _Run:
    """One ingest into the open parts of an index."""

    def __init__(self, parts: Parts, hands: IngestWorker, progress: IngestListener) -> None:
        self._parts = parts
        self._ledger = parts.ledger
        self._hands = hands
        self._progress = progress
        self._counts = _IngestCounts()

    def done(self, step: Callable[[], None]) -> IngestReport:
        """Settle the index, do one step to it, and count what that came to."""
        started = time.perf_counter()
        self._counts.restored = self._parts.settle(self._restoring)
        step()
        return IngestReport(
            **vars(self._counts),
            embedded=self._hands.embedded,
            engine=self._parts.embedder.engine if self._parts.loaded else "",
            seconds=time.perf_counter() - started,
            advice=ledger_advice(self._parts.stamp, self._ledger),
        )

    def hold_only(self, documents: Iterable[Document]) -> None:
        """Write documents, and delete all others."""
        with SeenIds() as seen:
            self._hold(documents, seen)
            gone = (id for id in self._ledger.documents() if id not in seen)
            self._drop(id for id in gone if not self._is_unread(id, documents))

    def _is_unread(self, id: str, documents: Iterable[Document]) -> bool:
        """Tell whether a document may still be in a file that could not be read, and count it."""
        if not isinstance(documents, SourceDocuments) or documents.all_read:
            return False
        unread = any(map(documents.is_unread, (id, self._ledger.path_of(id))))
        self._counts.kept += unread
        return unread

    def hold_too(self, documents: Iterable[Document]) -> None:
        """Write documents beside those that are there."""
        with SeenIds() as seen:
            self._hold(documents, seen)

    def drop(self, ids: Sequence[str], *, missing_ok: bool) -> None:
        """Delete documents by their ids, which may be anything."""
        told = [(id, self._holds(id)) for id in ids]
        unknown = [id for id, held in told if not held]
        if unknown and not missing_ok:
            raise InputError(
                f"The index holds no document {short_repr(unknown[0])}.",
                hint="A search shows the ids of documents; pass over those that are not there with "
                "missing_ok=True, or --missing-ok.",
            )
        self._drop(dict.fromkeys(id for id, held in told if held))

    def _holds(self, id: object) -> bool:
        plain = isinstance(id, str) and not has_unstorable_characters(id)
        return plain and self._ledger.fingerprint(str(id)) is not None

    def _hold(self, documents: Iterable[Document], seen: SeenIds) -> None:
        read = _unique(self._hands.read(documents), seen)
        cuts = self._hands.cut(self._changed(read))
        for batch, coded in self._hands.embed(self._batches(cuts)):
            self._write(batch, coded)

    def _restoring(self, restored: int, total: int) -> None:
        self._progress(IngestProgress(restored=restored, to_restore=total))

    def _changed(self, documents: Iterator[Document]) -> Iterator[Document]:
        """Leave out the documents that the index holds as they are."""
        for document in documents:
            if self._ledger.fingerprint(document.id) == document.fingerprint:
                self._counts.unchanged += 1
            else:
                yield document

    def _batches(self, cuts: Iterator[CutDocument]) -> Iterator[Batch]:
        batch = Batch()
        for cut in cuts:
            self._enter(cut, batch)
            if len(batch.new) + len(batch.old) >= CHUNKS_PER_BATCH:
                yield batch
                batch = Batch()
        yield batch

    def _enter(self, cut: CutDocument, batch: Batch) -> None:
        """Add to the batch what has to be written and what it replaces."""
        known = self._ledger.fingerprint(cut.id) is not None
        present = set(self._ledger.chunk_ids(cut.id)) if known else set()
        batch.documents.append(cut)
        batch.new.extend(piece for id, piece in cut.pieces.items() if id not in present)
        batch.old.extend(present - cut.pieces.keys())
        if known:
            self._counts.changed += 1
        else:
            self._counts.added += 1

    def _write(self, batch: Batch, coded: TokenCodes | None) -> None:
        """Create before deleting: readers find old chunks until the new ones are there."""
        if batch.documents:
            self._parts.enter(batch.new, coded)
            with self._ledger.transaction():
                self._ledger.set_state([piece.id for piece in batch.new], "live")
                self._ledger.set_state(batch.old, "dead")
                for cut in batch.documents:
                    self._ledger.put_document(cut.id, cut.fingerprint)
                    self._parts.returned.put(cut.id, cut.parents)
                self._ledger.bump()
            self._parts.remove(batch.old)
        self._counts.chunks_written += len(batch.new)
        self._counts.chunks_deleted += len(batch.old)
        counts = self._counts
        documents = counts.added + counts.changed + counts.unchanged
        self._progress(IngestProgress(documents, counts.chunks_written))

    def _drop(self, gone: Iterable[str]) -> None:
        for documents in batches(gone, DOCUMENTS_PER_BATCH):
            ids = [id for document in documents for id in self._ledger.chunk_ids(document)]
            with self._ledger.transaction():
                self._ledger.set_state(ids, "dead")
                for document in documents:
                    self._ledger.drop_document(document)
                    self._parts.returned.put(document, ())
                self._ledger.bump()
            self._parts.remove(ids)
            self._counts.deleted += len(documents)
            self._counts.chunks_deleted += len(ids)


def _unique(documents: Iterable[Document], seen: SeenIds) -> Iterator[Document]:
    for document in map(accept_document, documents):
        if not seen.add(document.id):
            raise InputError(
                f"Two documents have the id {document.id!r}.", hint="Make the ids unique."
            )
        yield document
    if not seen:
        raise InputError("There are no documents to ingest.", hint="Check the source.")
