"""Makes an index that searches somebody else's collection, and follows it.

Texts, metadata and vectors stay where they are and are never written. Beside them, in the index's
folder, is built what the collection lacks: a ledger, a keyword index and token vectors. Knows
collections, not how an index is searched.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ragwright.retrievers.embedding import load_embedder
from ragwright.retrievers.errors import DamagedStore, IdentityError, IndexFault, InputError
from ragwright.retrievers.index import close_index
from ragwright.retrievers.layouts import OwnedRow, read_owned_row
from ragwright.retrievers.lock import writer_lock
from ragwright.retrievers.owned import collection_url, embedder_named_by, open_collection
from ragwright.retrievers.parts import CHUNKS_PER_BATCH, Parts, open_parts, write_stamp
from ragwright.retrievers.seen import SeenIds, batches
from ragwright.retrievers.stamp import FORMAT, STAMP, IndexSettings, Stamp
from ragwright.retrievers.stores.attached import (
    AttachedChunk,
    AttachedStore,
    OwnedCollection,
    RowTable,
)
from ragwright.retrievers.stores.attachment import Attachment
from ragwright.retrievers.stores.base import StoreURL
from ragwright.retrievers.trust import import_allowed, is_reference
from ragwright.retrievers.types import Chunk, Document, Progress, content_hash
from ragwright.retrievers.vector_check import check_vectors, mean_length

SAMPLE = 20
"""So many of the owner's texts are embedded again, to see that the embedder is theirs."""


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """How a collection is read.

    Attributes:
        embedder: What made its vectors; empty for what its configuration says.
        document: The metadata key that names a row's document; empty for what LangChain
            (`source`) and LlamaIndex (`ref_doc_id`) write. Without one, each row is a document.
        tokens: Whether token vectors are made, for reranking by late interaction: every text is
            embedded once.
        trust: Modules that may be imported for an embedder `module:Class`.
    """

    embedder: str = ""
    document: str = ""
    tokens: bool = True
    trust: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttachReport:
    """What reading a collection did to the index beside it.

    Attributes:
        collection: The URL of the collection.
        embedder: What made its vectors.
        rows: Rows that it holds.
        added: Rows that were new.
        changed: Rows whose text, metadata or document differed.
        deleted: Rows that are gone from it.
        without_text: Rows that hold no text, which cannot be shown and are not found.
        dropped_keys: Metadata keys that an index cannot keep, in order.
    """

    index: str
    collection: str
    embedder: str
    rows: int
    added: int
    changed: int
    deleted: int
    without_text: int
    dropped_keys: tuple[str, ...]


def attach(
    source: object,
    index: str | Path | None = None,
    options: AttachOptions | None = None,
    *,
    progress: Progress | None = None,
) -> AttachReport:
    """Make an index that searches a collection where it is; or bring the one there up to date.

    Args:
        source: `chroma:PATH#NAME`, `chroma+http://HOST:PORT#NAME`, the same with `qdrant`, or a
            chromadb `Collection`.
        index: The folder of the index; by default `default_index_folder(source)`.
        options: How the collection is read; an index that is there keeps how it was made.
        progress: Called with how many rows were read, and of how many.

    Raises:
        InputError: The source is none of these, or the embedder has to be named.
        IdentityError: The embedder did not make the collection's vectors.
        IndexFault: The collection is not there or holds no texts, or the folder is another index's.
    """
    place, wanted = collection_url(source), options or AttachOptions()
    folder = Path(index) if index is not None else default_index_folder(source)
    if wanted.embedder and is_reference(wanted.embedder):
        import_allowed(wanted.embedder, wanted.trust)
    if (folder / STAMP).exists():
        _check_same(folder, place, wanted)
    else:
        _begin(place, folder, wanted)
    return sync(folder, progress=progress)


def default_index_folder(source: object) -> Path:
    """Return where the index on a collection lies if nothing else is said, in the working folder.

    Raises:
        InputError: The source is no collection.
    """
    place = collection_url(source)
    return Path(".rag") / "attached" / f"{place.collection}-{content_hash(str(place))[:8]}"


def sync(index: str | Path, *, progress: Progress | None = None) -> AttachReport:
    """Read what the owner of an attached collection wrote since; costs nothing for other rows.

    Raises:
        InputError: The index is not attached to a collection.
        IdentityError: What is new was embedded by another embedder.
        IndexFault: The collection is gone, or the index is being written.
    """
    folder = Path(index).resolve()
    stamp = Stamp.read(folder)
    if stamp.attached is None:
        raise InputError(
            f"The index {str(folder)!r} is not attached to a collection.",
            hint="It was made by `rag ingest`: run that again to bring it up to date.",
        )
    if not stamp.store(folder).remote:
        # Who has it open sees no vector that another process wrote since.
        close_index(folder)
    try:
        with writer_lock(folder), open_parts(folder, stamp) as parts:
            return _Reading(parts, stamp.attached, progress or _silent).run()
    except DamagedStore as error:
        raise DamagedStore(
            error.what,
            hint="Perhaps another process wrote while this one had it open: run `rag index sync` "
            "by itself. If that cannot read it either, it is for its owner to repair.",
        ) from error


def is_stale(index: str | Path) -> bool:
    """Tell whether an attached collection was written since its index read it.

    A server tells only how many rows there are. False for an index that is not attached.

    Raises:
        IndexFault: There is no index, or the collection is gone.
    """
    folder = Path(index).resolve()
    stamp = Stamp.read(folder)
    if stamp.attached is None:
        return False
    with closing(open_collection(stamp.store(folder))) as owned, closing(RowTable(folder)) as table:
        return owned.revision() != table.revision


def _silent(rows: int, total: int) -> None:
    """Tell nobody."""


def _check_same(folder: Path, place: StoreURL, wanted: AttachOptions) -> None:
    stamp = Stamp.read(folder)
    if stamp.attached is None or stamp.store(folder) != place:
        raise IndexFault(
            f"The index {str(folder)!r} does not belong to the collection {str(place)!r}.",
            hint="Name another folder for its index.",
        )
    if wanted.embedder not in {"", stamp.settings.embedder}:
        raise IdentityError(
            f"The index {str(folder)!r} was attached with {stamp.settings.embedder!r}, not with "
            f"{wanted.embedder!r}.",
            hint="Name another folder, or delete this one: the collection is not in it.",
        )


def _begin(place: StoreURL, folder: Path, wanted: AttachOptions) -> None:
    """Make sure of the embedder, and put a stamp on a new index."""
    with closing(open_collection(place)) as owned:
        name = wanted.embedder or embedder_named_by(owned.embedding_function, place)
        embedder = load_embedder(name)
        sample = _sample(owned, wanted.document)
        if not sample:
            raise IndexFault(
                f"The collection {str(place)!r} holds no texts.",
                hint="Only texts can be searched and shown: fill it first.",
            )
        said = "" if wanted.embedder else " (its configuration says so)"
        check_vectors(sample, embedder, f"{name!r}{said}", str(place))
        norm = mean_length(vector for _, vector in sample)
    stamp = Stamp(
        format=FORMAT,
        settings=IndexSettings(embedder=name, store=str(place)),
        identity=embedder.identity,
        id=uuid.uuid4().hex,
        attached=Attachment(document=wanted.document, norm=norm, tokens=wanted.tokens),
    )
    with writer_lock(folder):
        write_stamp(folder, stamp)


def _sample(owned: OwnedCollection, document: str) -> list[tuple[OwnedRow, Sequence[float]]]:
    """Return rows with texts from all over a collection, each with its vector."""
    with SeenIds(owned.ids()) as ids:
        every = max(1, len(ids) // (2 * SAMPLE))
        some = [id for number, id in enumerate(ids) if number % every == 0]
    held = owned.fetch(some)
    read = ((read_owned_row(id, one.text, one.metadata, document=document), one.vector.tolist())
            for id, one in held.items())  # fmt: skip
    return [(row, vector) for row, vector in read if row is not None][:: 1 if every == 1 else 2][
        :SAMPLE
    ]


@dataclass
class _AttachCounts:
    rows: int = 0
    added: int = 0
    changed: int = 0
    deleted: int = 0
    without_text: int = 0


@dataclass
class _Batch:
    """Rows that are to be written, as the chunks they become."""

    chunks: dict[str, Chunk] = field(default_factory=dict)
    known: dict[str, AttachedChunk] = field(default_factory=dict)


class _Reading:
    """One reading of a collection into the open parts of its index."""

    def __init__(self, parts: Parts, how: Attachment, progress: Progress) -> None:
        assert isinstance(parts.store, AttachedStore)
        self._parts, self._ledger, self._how, self._progress = parts, parts.ledger, how, progress
        self._owned, self._table = parts.store.collection, parts.store.rows
        self._counts = _AttachCounts()
        self._dropped: set[str] = set()
        self._ends: dict[str, int] = {}
        self._checked = False

    def run(self) -> AttachReport:
        self._parts.settle(_silent)
        # Before anything is read: what is written meanwhile is read by the next one.
        revision = self._owned.revision()
        with SeenIds(self._owned.ids()) as ids, SeenIds() as seen:
            for page in batches(ids, CHUNKS_PER_BATCH):
                seen.update(self._enter(page))
                self._progress(self._counts.rows, len(ids))
            gone = [id for id in self._table.ids() if id not in seen]
        self._table.drop(gone)
        self._counts.deleted = len(gone)
        self._sweep()
        self._table.set_revision(revision)
        stamp = self._parts.stamp
        return AttachReport(
            index=str(self._parts.folder),
            collection=str(stamp.store(self._parts.folder)),
            embedder=stamp.settings.embedder,
            **vars(self._counts),
            dropped_keys=tuple(sorted(self._dropped)),
        )

    def _enter(self, page: Sequence[str]) -> list[str]:
        """Write what is new of a page of the owner's ids; return those that hold a text."""
        held = self._owned.fetch(page)
        vectors = {id: row.vector.tolist() for id, row in held.items()}
        rows = self._read((id, row.text, dict(row.metadata)) for id, row in held.items())
        known = self._table.known(row.id for row in rows)
        live = self._ledger.tokens([one.chunk for one in known.values()])
        fresh = [row for row in rows if not _same(known.get(row.id), row, live)]
        if fresh:
            self._check([(row, vectors[row.id]) for row in fresh])
            self._write(self._batch(fresh, known))
        self._counts.changed += sum(row.id in known for row in fresh)
        self._counts.added += sum(row.id not in known for row in fresh)
        return [row.id for row in rows]

    def _read(self, held: Iterable[tuple[str, str, dict[str, object]]]) -> list[OwnedRow]:
        rows = []
        for id, text, metadata in held:
            self._counts.rows += 1
            row = read_owned_row(id, text, metadata, document=self._how.document)
            if row is None:
                self._counts.without_text += 1
            else:
                self._dropped.update(row.dropped)
                rows.append(row)
        return rows

    def _check(self, fresh: Sequence[tuple[OwnedRow, Sequence[float]]]) -> None:
        """Make sure, once a reading, that what is new was embedded as what was there."""
        if not self._checked:
            stamp, embedder = self._parts.stamp, self._parts.embedder
            place = str(stamp.store(self._parts.folder))
            check_vectors(fresh[:SAMPLE], embedder, repr(stamp.settings.embedder), place)
            self._checked = True

    def _batch(self, rows: Sequence[OwnedRow], known: dict[str, AttachedChunk]) -> _Batch:
        batch = _Batch()
        for row in rows:
            start = self._start(row, known.get(row.id))
            end = start + len(row.text)
            piece = Chunk(row.document, start, end, row.text, row.metadata)
            batch.chunks[piece.id] = piece
            batch.known[row.id] = AttachedChunk(piece.id, row.document, start, end, row.fingerprint)
        return batch

    def _start(self, row: OwnedRow, before: AttachedChunk | None) -> int:
        """Return where a row starts in its document; one that does not say comes after the last."""
        if row.start is not None:
            return row.start
        if before is not None and before.document == row.document:
            return before.start
        if row.document not in self._ends:
            self._ends[row.document] = self._table.end(row.document)
        start = self._ends[row.document]
        self._ends[row.document] = start + len(row.text) + 1
        return start

    def _write(self, batch: _Batch) -> None:
        held = self._ledger.tokens(list(batch.chunks))
        new = [piece for id, piece in batch.chunks.items() if id not in held]
        self._parts.enter(new)
        self._table.put(batch.known)
        with self._ledger.transaction():
            self._ledger.set_state([piece.id for piece in new], "live")
            for document in {piece.document_id for piece in new}:
                self._ledger.put_document(document, Document(document, "").fingerprint)
            self._ledger.bump()

    def _sweep(self) -> None:
        """Remove the chunks that stand for no row any more, and documents without chunks."""
        for page in batches(self._ledger.ids(), CHUNKS_PER_BATCH):
            owners = self._table.owners(page)
            orphans = [id for id in page if id not in owners]
            records = self._ledger.records(orphans).values()
            documents = {record.chunk.document_id for record in records}
            with self._ledger.transaction():
                self._ledger.set_state(orphans, "dead")
                for document in documents:
                    if not self._ledger.chunk_ids(document):
                        self._ledger.drop_document(document)
            self._parts.remove(orphans)


def _same(known: AttachedChunk | None, row: OwnedRow, live: dict[str, int]) -> bool:
    return known is not None and known.fingerprint == row.fingerprint and known.chunk in live
