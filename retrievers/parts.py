"""The parts of one index, open for writing: chunks in and out of all of them, safe to kill.

A chunk enters the ledger as `writing`, then the token vectors, the vector store and the keyword
index; whoever calls makes it `live`. `settle` undoes what a crash did. The note on the vector store
says whether it holds every live chunk: if not, it is filled from the ledger first. Knows chunks,
not documents.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ragwright.retrievers.cache import CachedEmbedder, with_cache
from ragwright.retrievers.chunking import count_tokens, text_to_search
from ragwright.retrievers.embedding import Floats, is_loaded
from ragwright.retrievers.errors import IdentityError, IndexFault
from ragwright.retrievers.keyword import KeywordIndex, KeywordRow
from ragwright.retrievers.late import TokenCodes, TokenVectors, VectorSpan
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.metadata import add_date_seconds
from ragwright.retrievers.own_vectors import OwnVectors
from ragwright.retrievers.returned import ReturnedChunks, returned_chunks
from ragwright.retrievers.seen import SeenIds, batches
from ragwright.retrievers.soundness import (
    clear_damage,
    is_foreign_keyword_index,
    note_all_parts,
    note_keyword_index,
)
from ragwright.retrievers.stamp import (
    STAMP,
    Stamp,
    check_note,
    refuse_foreign_rows,
    unfinished_note,
)
from ragwright.retrievers.stores.base import VectorStore, slices
from ragwright.retrievers.stores.opening import store_of_index
from ragwright.retrievers.sums import IndexChecksums
from ragwright.retrievers.types import Chunk, Progress

CHUNKS_PER_BATCH = 512


def write_or_check_stamp(folder: Path, stamp: Stamp) -> Stamp:
    """Put a stamp on a new index, or check the one that is there, and return it.

    Raises:
        IdentityError: The index was made with other settings.
        IndexFault: It cannot be written.
    """
    if (folder / STAMP).exists():
        present = Stamp.read(folder)
        if present.attached is not None:
            raise IdentityError(
                f"The index {str(folder)!r} follows the collection {str(present.store(folder))!r}, "
                "which belongs to somebody else: nothing is ingested into it.",
                hint="Run `rag index sync` to read what its owner wrote, or ingest into a new "
                "folder.",
            )
        stamp = stamp.like(present)
        _check_same(folder, present, stamp)
        if present.settings != stamp.settings:
            present = present.model_copy(update={"settings": stamp.settings})
            present.write(folder)
        return present
    made = stamp.model_copy(update={"id": uuid.uuid4().hex})
    write_stamp(folder, made)
    return made


def write_stamp(folder: Path, stamp: Stamp) -> None:
    """Put the stamp on a new index.

    Raises:
        IndexFault: The folder cannot be written.
    """
    try:
        TokenVectors.create(folder, stamp.identity.dimension, stamp.settings.tokens)
        stamp.write(folder)
    except OSError as error:
        raise IndexFault(
            f"The index {str(folder)!r} cannot be made: {error.strerror}.",
            hint="Make sure that the folder can be written and has room.",
        ) from error


def _check_same(folder: Path, present: Stamp, wanted: Stamp) -> None:
    if present.manner != wanted.manner:
        raise IdentityError(
            f"The index {str(folder)!r} was made with {_differing(present, wanted)}.",
            hint="Ingest into a new folder (another `path` under [index]), or use the settings it "
            "was made with.",
        )
    if present.store(folder) != wanted.store(folder):
        raise IdentityError(
            f"The vectors of the index {str(folder)!r} lie in {str(present.store(folder))!r}, not "
            f"in {str(wanted.store(folder))!r}.",
            hint="Move them with `rag index copy`, or name the store they are in.",
        )


def _differing(present: Stamp, wanted: Stamp) -> str:
    """Say which settings differ, as a recipe has them: `chunking.size = 200, not 300`."""
    had, asked = (_flat(json.loads(one.manner)) for one in (present, wanted))
    differing = sorted(key for key in {*had, *asked} if had.get(key) != asked.get(key))
    # A manner leaves out what was not known when the first indexes were made, as it is by default.
    whole = [
        _flat({"settings": one.settings.model_dump(mode="json")}) | found
        for one, found in ((present, had), (wanted, asked))
    ]
    before, after = ([json.dumps(one.get(key)) for key in differing] for one in whole)
    return "; ".join(
        f"{key.removeprefix('settings.')} = {old}, not {new}"
        for key, old, new in zip(differing, before, after, strict=True)
    )


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        place = f"{before}{name}"
        flat |= _flat(value, f"{place}.") if isinstance(value, dict) else {place: value}
    return flat


@contextmanager
def open_parts(
    folder: Path, stamp: Stamp, *, create: bool = True, thorough: bool = False
) -> Iterator[Parts]:
    """Open an index for writing; the caller holds the lock.

    Args:
        folder: The folder of the index.
        stamp: The stamp that is on it.
        create: Make what is missing, and empty what is damaged: `settle` fills it again.
        thorough: Look for damage in every file, not only in those whose size or time changed.

    Raises:
        IndexFault: A part cannot be opened, or the vector store is another index's.
        IdentityError: The vector store holds another embedder's vectors.
    """
    dimension, sums = stamp.identity.dimension, IndexChecksums(folder)
    broken = create and clear_damage(sums, folder, stamp, thorough=thorough)
    with ExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(folder / "ledger.sqlite", create=create)))
        vectors = TokenVectors(folder, dimension, stamp.settings.tokens)
        keyword = stack.enter_context(closing(open_keyword(folder, stamp, create=create)))
        store = store_of_index(stamp, folder, create=create, passing=keyword.passing)
        stack.callback(store.close)
        check_note(store, stamp, folder, whole=not create)
        refuse_foreign_rows(store, stamp.store(folder), ledger.known)
        if broken:
            store.mend(broken=True)
        returned = returned_chunks(ledger, stamp.settings.chunking)
        own = OwnVectors(folder, dimension)
        yield Parts(folder, stamp, ledger, returned, vectors, keyword, store, own, sums)
    if create:
        note_all_parts(sums, folder, stamp)


def open_keyword(folder: Path, stamp: Stamp, *, create: bool = False) -> KeywordIndex:
    """Open the keyword index of an index; `outdated` says whether it must be built anew."""
    language = stamp.settings.language
    return KeywordIndex(folder / "keyword", create=create, language=language)


def rebuild_keyword(keyword: KeywordIndex, ledger: Ledger, stamp: Stamp) -> None:
    """Make the keyword index anew from the ledger; nothing is embedded. The caller holds the lock.

    Readers see it with the next generation of the index.
    """
    settings = stamp.settings.chunking

    def rows() -> Iterator[list[KeywordRow]]:
        for page in batches(ledger.all_records(), CHUNKS_PER_BATCH):
            chunks = [record.chunk for record in page]
            yield [(piece.id, text_to_search(piece, settings), piece.facts) for piece in chunks]

    keyword.rebuild(rows())
    with ledger.transaction():
        ledger.bump()


@dataclass(frozen=True)
class Parts:
    """The open parts of the index in a folder."""

    folder: Path
    stamp: Stamp
    ledger: Ledger
    returned: ReturnedChunks
    vectors: TokenVectors
    keyword: KeywordIndex
    store: VectorStore
    own: OwnVectors
    sums: IndexChecksums

    @cached_property
    def embedder(self) -> CachedEmbedder:
        """What embeds; loaded when it is needed: who deletes, verifies or compacts needs none.

        Raises:
            ModelError: It cannot be loaded.
        """
        return with_cache(self.stamp.embedder("document"), self.stamp.prompts.of("document"))

    @property
    def loaded(self) -> bool:
        """Whether the embedder was needed so far, here or elsewhere in this process."""
        return is_loaded(self.stamp.settings.embedder, self.stamp.settings.engine)

    @property
    def embedded(self) -> bool:
        """Whether the vectors are kept once more: a store in a folder is searched beside them."""
        return self.stamp.attached is None and self.stamp.store(self.folder).embedded

    def enter(self, chunks: Sequence[Chunk], coded: TokenCodes | None = None) -> None:
        """Write chunks to every part; in the ledger they are `writing`.

        Args:
            chunks: What to write.
            coded: Their vectors, where they were made already.
        """
        encoding = self.stamp.settings.chunking.encoding
        for part in slices(len(chunks), CHUNKS_PER_BATCH):
            with self.ledger.transaction():
                for piece in chunks[part]:
                    self.ledger.put_chunk(piece, tokens=count_tokens(piece.shown, encoding))
            self.fill(chunks[part], coded and coded[part])

    def fill(self, chunks: Sequence[Chunk], coded: TokenCodes | None = None) -> None:
        """Write chunks that the ledger knows to every other part, or write them anew."""
        ids = [piece.id for piece in chunks]
        found_by = self.searched(chunks)
        made = self._coded(found_by) if coded is None else coded
        file, end = self.ledger.counter("token_file"), self.ledger.counter("token_end")
        spans = [VectorSpan()] * len(ids)
        if made.tokens is not None:
            spans = self.vectors.write(file, end, made.tokens)
        self._store_rows(chunks, made.vectors)
        self._write_keyword(chunks, found_by)
        with self.ledger.transaction():
            self.ledger.set_spans(zip(ids, spans, strict=True))
            self.ledger.set_counter("token_end", end + sum(span.count for span in spans))

    def _coded(self, texts: Sequence[str]) -> TokenCodes:
        """Embed texts; beside vectors that are somebody else's for the sake of tokens alone."""
        attached = self.stamp.attached
        if attached is None or (attached.tokens and self.embedder.token_vectors):
            encoded = self.embedder.encode(texts, tokens=True)
            tokens = None if encoded.tokens is None else self.vectors.coded(encoded.tokens)
            return TokenCodes(encoded.vectors, tokens)
        return TokenCodes(np.zeros((len(texts), self.stamp.identity.dimension), dtype=np.float32))

    def _write_keyword(self, chunks: Sequence[Chunk], found_by: Sequence[str]) -> None:
        rows = zip((c.id for c in chunks), found_by, (c.facts for c in chunks), strict=True)
        self.keyword.write(rows)
        note_keyword_index(self.sums, self.folder)

    def searched(self, chunks: Sequence[Chunk]) -> list[str]:
        """Return the texts by which chunks are found, which are those that are embedded."""
        return [text_to_search(piece, self.stamp.settings.chunking) for piece in chunks]

    def _store_rows(self, chunks: Sequence[Chunk], vectors: Floats) -> None:
        texts, facts = (
            [piece.text for piece in chunks],
            [add_date_seconds(piece.facts) for piece in chunks],
        )
        ids = [piece.id for piece in chunks]
        self.store.upsert(ids, vectors, texts, facts)
        if self.embedded:
            self.own.append(ids, vectors)

    def remove(self, ids: Sequence[str]) -> None:
        """Take chunks out of every part, the ledger last."""
        if not ids:
            return
        self.store.delete(ids)
        self.own.forget(ids)
        self.keyword.write((), deleted=ids)
        note_keyword_index(self.sums, self.folder)
        with self.ledger.transaction():
            self.ledger.forget(ids)
            self.ledger.bump()

    def settle(self, progress: Progress) -> int:
        """Undo what a crash did: to be called before anything is written.

        Chunks that are half in are removed. A vector store that cannot read its files any more is
        emptied, and one whose note does not say that it is whole, or that holds nothing, is given
        what it lacks; so is a keyword index that lacks some. Another index's is made anew.

        Returns:
            How many chunks were written to the vector store, and to the keyword index.
        """
        self.store.mend()
        if self.keyword.outdated or is_foreign_keyword_index(self.keyword, self.ledger):
            rebuild_keyword(self.keyword, self.ledger, self.stamp)
            note_keyword_index(self.sums, self.folder)
        whole = self.store.stamp() == self.stamp.note and not self._lost()
        if not whole:
            self.store.set_stamp(unfinished_note(self.stamp.note))
        while ids := self.ledger.unsettled():
            self.remove(ids)
        again = self._restore_keyword()
        if whole:
            self._restore_own()
            return again
        restored = again + self._restore(progress)
        if self.ledger.counts()[1]:
            # Before the note: a reader that looks too early looks again until the note is there.
            with self.ledger.transaction():
                self.ledger.bump()
        self.store.set_stamp(self.stamp.note)
        self._restore_own()
        return restored

    def _restore_own(self) -> None:
        """Write to the index's own vectors what they lack, as the store has it."""
        if not self.embedded:
            self.own.drop()
            return
        if len(self.own) == self.ledger.counts()[1]:
            return
        for page in batches(self.ledger.ids(), CHUNKS_PER_BATCH):
            rows = self.store.fetch(self.own.now.lacks(page))
            if rows:
                self.own.append(list(rows), np.stack([row.vector for row in rows.values()]))
        with self.ledger.transaction():
            self.ledger.bump()

    def _restore_keyword(self) -> int:
        """Write to the keyword index what it lacks, which is all after it was emptied."""
        if self.keyword.count >= self.ledger.counts()[1]:
            return 0
        restored = 0
        with SeenIds(self.keyword.ids()) as held:
            lacking = (id for id in self.ledger.ids() if id not in held)
            for page in batches(lacking, CHUNKS_PER_BATCH):
                chunks = [record.chunk for record in self.ledger.records(page).values()]
                self._write_keyword(chunks, self.searched(chunks))
                restored += len(chunks)
        with self.ledger.transaction():
            self.ledger.bump()
        return restored

    def _lost(self) -> bool:
        """Tell whether the store holds nothing, though its note, kept elsewhere, is still there."""
        if self.stamp.attached is not None:
            return False
        return bool(self.ledger.counts()[1]) and next(self.store.ids(), None) is None

    def _restore(self, progress: Progress) -> int:
        """Write to the vector store what it lacks, and nothing to the other parts."""
        restored = 0
        with SeenIds(self.store.ids()) as held:
            total = sum(id not in held for id in self.ledger.ids())
            lacking = (id for id in self.ledger.ids() if id not in held)
            for page in batches(lacking, CHUNKS_PER_BATCH):
                chunks = [record.chunk for record in self.ledger.records(page).values()]
                self._store_rows(chunks, self.embedder.encode(self.searched(chunks)).vectors)
                restored += len(chunks)
                progress(restored, total)
        return restored
