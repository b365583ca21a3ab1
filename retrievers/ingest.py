"""Documents in, an index on disk out: incremental, idempotent, safe to kill at any moment.

Documents go through in batches. A batch enters the ledger as `writing`, then the vector store, the
keyword index and the token vectors, and in one ledger transaction becomes `live` while the chunks
it replaces become `dead` and are then deleted. Whatever a crash leaves `writing` or `dead` is
removed at the next ingest. Knows how to write an index, not how to search it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from retrievers.chunking import chunk, count_tokens
from retrievers.embedding import Encoded, load_embedder
from retrievers.errors import IdentityError, IndexFault, InputError
from retrievers.index import IndexSettings, Stamp
from retrievers.keyword import KeywordIndex
from retrievers.late import TokenVectors
from retrievers.ledger import Ledger
from retrievers.stores.chroma import ChromaStore
from retrievers.types import Chunk, Document

CHUNKS_PER_BATCH = 512


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far an ingest has come: documents read and chunks written so far."""

    documents: int
    chunks: int


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did.

    Attributes:
        added: Documents that were new.
        changed: Documents whose text, title or metadata differed.
        deleted: Documents that are gone from the source.
        unchanged: Documents that cost nothing.
        chunks_written: Chunks embedded and stored.
        chunks_deleted: Chunks removed.
        seconds: Wall-clock time.
    """

    added: int
    changed: int
    deleted: int
    unchanged: int
    chunks_written: int
    chunks_deleted: int
    seconds: float


Progress = Callable[[IngestProgress], None]


def ingest(
    documents: Iterable[Document],
    path: str | Path,
    settings: IndexSettings | None = None,
    *,
    progress: Progress | None = None,
) -> IngestReport:
    """Make an index hold exactly these documents.

    Args:
        documents: The whole collection; documents of the index that are not among them are
            deleted from it.
        path: The folder of the index; made if it is missing.
        settings: How to make it. An existing index must have been made the same way.
        progress: Called after every batch.

    Raises:
        IdentityError: The index there was made with other settings.
        IndexFault: Another process is writing it, or a part of it is damaged.
        InputError: Two documents have the same id, or there is none.
    """
    folder = Path(path)
    stamp = Stamp.of(settings or IndexSettings())
    with _locked(folder), _Writer(folder, stamp) as writer:
        return writer.run(documents, progress or (lambda _: None))


@dataclass
class _Counts:
    added: int = 0
    changed: int = 0
    deleted: int = 0
    unchanged: int = 0
    chunks_written: int = 0
    chunks_deleted: int = 0


@dataclass
class _Batch:
    documents: list[Document] = field(default_factory=list)
    new: list[Chunk] = field(default_factory=list)
    old: list[str] = field(default_factory=list)


class _Writer:
    """The parts of one index, open for writing."""

    def __init__(self, folder: Path, stamp: Stamp) -> None:
        _stamped(folder, stamp)
        self._settings = stamp.settings
        self._embedder = load_embedder(stamp.settings.embedder)
        self._ledger = Ledger(folder / "ledger.sqlite", create=True)
        self._store = ChromaStore(folder / "chroma", create=True)
        self._keyword = KeywordIndex(folder / "keyword", create=True)
        self._vectors = TokenVectors(folder, stamp.identity.dimension)
        self._counts = _Counts()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._keyword.close()
        self._store.close()
        self._ledger.close()

    def run(self, documents: Iterable[Document], progress: Progress) -> IngestReport:
        started = time.perf_counter()
        self._remove(self._ledger.unsettled())
        known, seen = self._ledger.documents(), set[str]()
        batch = _Batch()
        for document in _unique(documents, seen):
            if known.get(document.id) == document.fingerprint:
                self._counts.unchanged += 1
                continue
            self._enter(document, batch, is_new=document.id not in known)
            if len(batch.new) >= CHUNKS_PER_BATCH:
                self._write(batch)
                batch = _Batch()
                progress(IngestProgress(len(seen), self._counts.chunks_written))
        self._write(batch)
        self._drop([id for id in known if id not in seen])
        progress(IngestProgress(len(seen), self._counts.chunks_written))
        return IngestReport(**vars(self._counts), seconds=time.perf_counter() - started)

    def _enter(self, document: Document, batch: _Batch, *, is_new: bool) -> None:
        """Add to the batch what has to be written and what it replaces."""
        chunks = {piece.id: piece for piece in chunk(document, self._settings.chunking)}
        present = set() if is_new else set(self._ledger.chunk_ids(document.id))
        batch.documents.append(document)
        batch.new.extend(piece for id, piece in chunks.items() if id not in present)
        batch.old.extend(present - chunks.keys())
        if is_new:
            self._counts.added += 1
        else:
            self._counts.changed += 1

    def _write(self, batch: _Batch) -> None:
        if not batch.documents:
            return
        chunks = batch.new
        with self._ledger.transaction():
            for piece in chunks:
                tokens = count_tokens(piece.text, self._settings.chunking.encoding)
                self._ledger.put_chunk(piece, tokens=tokens)
        if chunks:
            self._fill_parts(chunks, self._embedder.encode([c.text for c in chunks], tokens=True))
        with self._ledger.transaction():
            self._ledger.set_state([piece.id for piece in chunks], "live")
            self._ledger.set_state(batch.old, "dead")
            for document in batch.documents:
                self._ledger.put_document(document)
            self._ledger.bump()
        self._counts.chunks_written += len(chunks)
        self._counts.chunks_deleted += len(batch.old)
        self._remove(batch.old)

    def _fill_parts(self, chunks: Sequence[Chunk], encoded: Encoded) -> None:
        ids = [piece.id for piece in chunks]
        texts = [piece.text for piece in chunks]
        metadata = [piece.facts for piece in chunks]
        places = self._vectors.write(self._ledger.vectors_end(), encoded.tokens or ())
        self._store.upsert(ids, encoded.vectors, texts, metadata)
        self._keyword.write(zip(ids, texts, strict=True))
        with self._ledger.transaction():
            for id, (start, count) in zip(ids, places, strict=True):
                self._ledger.set_vectors(id, start, count)

    def _drop(self, documents: Sequence[str]) -> None:
        """Delete documents that are gone from the source."""
        if not documents:
            return
        ids = [id for document in documents for id in self._ledger.chunk_ids(document)]
        with self._ledger.transaction():
            self._ledger.set_state(ids, "dead")
            for document in documents:
                self._ledger.drop_document(document)
            self._ledger.bump()
        self._counts.deleted += len(documents)
        self._counts.chunks_deleted += len(ids)
        self._remove(ids)

    def _remove(self, ids: Sequence[str]) -> None:
        """Take chunks out of every part, the ledger last."""
        if not ids:
            return
        self._store.delete(ids)
        self._keyword.write((), deleted=ids)
        with self._ledger.transaction():
            self._ledger.forget(ids)
            self._ledger.bump()


def _unique(documents: Iterable[Document], seen: set[str]) -> Iterator[Document]:
    for document in documents:
        if document.id in seen:
            raise InputError(
                f"Two documents have the id {document.id!r}.", hint="Make the ids unique."
            )
        seen.add(document.id)
        yield document
    if not seen:
        raise InputError("There are no documents to ingest.", hint="Check the source.")


def _stamped(folder: Path, stamp: Stamp) -> None:
    """Write the stamp on a new index, or check the one that is there."""
    file = folder / "stamp.json"
    if not file.exists():
        TokenVectors.create(folder, stamp.identity.dimension)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(stamp.model_dump_json(indent=2), encoding="utf-8")
        temporary.replace(file)
        return
    present = Stamp.read(folder)
    if present != stamp:
        raise IdentityError(
            f"The index {str(folder)!r} was made with {present.settings!r}, not with "
            f"{stamp.settings!r}.",
            hint="Ingest into a new folder, or use the settings it was made with.",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the writer's lock, which the operating system frees when its process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / "writer.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise IndexFault(
            f"Another process is writing the index {str(folder)!r}.",
            hint="Wait until it has finished.",
        ) from error
    try:
        yield
    finally:
        lock.release()
