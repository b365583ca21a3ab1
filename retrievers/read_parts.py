"""Opens the parts of an index for reading: ledger, stores and embedder.

Whether they belong together is checked when they are opened, and again when another process has
written: `refresh` opens anew what does not see that by itself. Knows neither questions nor
passages.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from ragwright.retrievers.embedding import EmbedderIdentity, Floats
from ragwright.retrievers.errors import DamagedStore, IdentityError
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.keyword import KeywordIndex
from ragwright.retrievers.late import TokenVectors
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.lock import writer_lock
from ragwright.retrievers.nearest import Nearest
from ragwright.retrievers.own_vectors import OwnVectors
from ragwright.retrievers.parts import open_keyword, rebuild_keyword
from ragwright.retrievers.returned import returned_chunks
from ragwright.retrievers.soundness import (
    KeywordMark,
    check_belongs,
    check_keyword,
    check_rotation,
    check_store,
    keyword_mark,
    note_keyword_index,
)
from ragwright.retrievers.stamp import Stamp, check_note
from ragwright.retrievers.stores.base import AwaitedStore, VectorStore
from ragwright.retrievers.stores.opening import store_of_index
from ragwright.retrievers.sums import IndexChecksums

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks at the files of the keyword index."""
REBUILD_SECONDS = 30.0
"""That a reader waits for a writer where the keyword index has to be built anew."""


class ReadParts:
    """The open parts of the index in a folder. Safe to use from several threads.

    Args:
        folder: The folder of the index.

    Attributes:
        stamp: How the index was made and where its vectors lie; `refresh` may put another here.
        rows_written: How many chunks there are and were at most, as of the last `refresh`.

    Raises:
        IndexFault: There is no index, or a part of it is missing or damaged.
        IdentityError: The embedder of that name is not the one the index was made with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stamp = Stamp.read(folder)
        settings, identity = self.stamp.settings, self.stamp.identity
        self.embedder = self.stamp.embedder("query")
        if self.embedder.identity != identity:
            raise IdentityError(
                f"The index {str(folder)!r} was made with {_shown(identity)}, "
                f"but {settings.embedder!r} is now {_shown(self.embedder.identity)}.",
                hint="Install the embedder it was made with, or ingest into a new folder.",
            )
        check_rotation(folder)
        self._faults: dict[str, DamagedStore] = {}
        with ExitStack() as opened:
            self.ledger = opened.enter_context(closing(Ledger(folder / "ledger.sqlite")))
            self.returned = returned_chunks(self.ledger, settings.chunking)
            self.tokens = TokenVectors(folder, identity.dimension, settings.tokens)
            self.tokens.require(self.ledger.counter("token_file"))
            self._own = OwnVectors(folder, identity.dimension)
            self._embedded = False
            self._near: tuple[int, Nearest] | None = None
            self._mark: KeywordMark = frozenset()
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._keyword: KeywordIndex | None = None
            self._store: VectorStore | None = None
            opened.callback(self._close_parts)
            self._open_keyword()
            self._open_store(self.stamp)
            self._seen = self.ledger.generation
            self.rows_written = self.ledger.rows_written()
            self._opened = opened.pop_all()
        self._lock = threading.Lock()

    def _current_keyword(self) -> KeywordIndex:
        """Open the keyword index; one that another version made is built anew from the ledger.

        Of several readers that begin at once, the first does, and the others wait for it.
        """
        keyword = open_keyword(self.folder, self.stamp)
        if not keyword.outdated:
            return keyword
        keyword.close()
        with writer_lock(self.folder, wait=REBUILD_SECONDS):
            keyword = open_keyword(self.folder, self.stamp)
            if keyword.outdated:
                rebuild_keyword(keyword, self.ledger, self.stamp)
                note_keyword_index(IndexChecksums(self.folder), self.folder)
        return keyword

    @property
    def store(self) -> VectorStore:
        """The vector store; `refresh` may put another here.

        Raises:
            DamagedStore: Its files are damaged: it was never opened, since that may end a process.
        """
        if self._store is None:
            raise self._faults["store"]
        return self._store

    @property
    def keyword(self) -> KeywordIndex:
        """The keyword index.

        Raises:
            DamagedStore: Its files are damaged.
        """
        if self._keyword is None:
            raise self._faults["keyword"]
        return self._keyword

    def nearest(self, vector: Floats, n: int, where: Filter | None) -> dict[str, float]:
        """Return up to n chunks with their cosine to `vector`, shape (d,), best first.

        Raises:
            InputError: The filter is wrong.
            IndexFault: The vector store fails.
        """
        store, keyword, held, seen = self.store, self._keyword, self._near, self._seen
        if keyword is None or not self._embedded:
            return store.query(vector, n, where)
        if held is None or held[0] != seen:
            held = seen, Nearest(store, keyword, self._own, count=self.ledger.counts()[1])
            self._near = held
        return held[1].query(vector, n, where)

    @property
    def awaited(self) -> AwaitedStore | None:
        """What an event loop awaits; None if the store is embedded, or damaged."""
        return None if self._store is None else self._store.awaited

    def refresh(self) -> None:
        """Open anew what does not see another process's writes by itself.

        Raises:
            IndexFault: The vector store is gone, is another index's, or may lack vectors.
        """
        generation = self.ledger.generation
        if generation == self._seen:
            self._look()
            return
        with self._lock:
            if generation != self._seen:
                self._reload_store()
                self._open_keyword()
                self._own.reload()
                self.rows_written = self.ledger.rows_written()
                self._seen = generation

    def _look(self) -> None:
        """See now and then whether other files lie there than those that were opened.

        Without a new generation it was no ingest that wrote the keyword index, or one that has not
        ended: nothing else tells of what was damaged or exchanged. One that is gone is still open.
        """
        if time.monotonic() < self._look_at:
            return
        with self._lock:
            self._look_at = time.monotonic() + LOOK_SECONDS
            mark = keyword_mark(self.folder)
            if mark and mark != self._mark:
                self._open_keyword()

    def close(self) -> None:
        """Let go of files."""
        self._opened.close()

    def _close_parts(self) -> None:
        """Let go of the parts, which may be others by then than those that were opened."""
        for part in (self._store, self._keyword):
            if part is not None:
                part.close()

    def _open_keyword(self) -> None:
        """Open or reload the keyword index; a damaged one is an error of what asks it alone."""
        self._mark = keyword_mark(self.folder)
        try:
            check_keyword(self.folder)
            keyword = self._keyword
            if keyword is None:
                keyword = self._current_keyword()
                self._near = None
            else:
                keyword.reload()
            check_belongs(keyword, self.ledger, self.folder)
            self._keyword = keyword
        except DamagedStore as error:
            self._faults["keyword"] = error
            self._keyword = None

    def _open_store(self, stamp: Stamp) -> None:
        """Put the store of a stamp in the place of the one before, which others may be asking."""
        try:
            check_store(self.folder, stamp)
        except DamagedStore as error:
            self._faults["store"] = error
            self.stamp, self._store = stamp, None
            return
        opened = store_of_index(stamp, self.folder, create=False, passing=self._passing)
        self._embedded = stamp.attached is None and stamp.store(self.folder).embedded
        self.stamp, self._store = stamp, opened
        self._warn_if_stale()
        check_note(self._store, self.stamp, self.folder, whole=True)

    def _passing(self, ids: Sequence[str] | None, where: Filter) -> set[str]:
        return self.keyword.passing(ids, where)

    def _warn_if_stale(self) -> None:
        from ragwright.retrievers.stores.attached import AttachedStore

        if isinstance(self._store, AttachedStore) and self._store.stale:
            log.warning(
                "The collection %r was written since the index %r read it: run `rag index sync`.",
                str(self.stamp.store(self.folder)), str(self.folder),
            )  # fmt: skip

    def _reload_store(self) -> None:
        stamp = Stamp.read(self.folder)
        held = self._store
        same = held is not None and stamp.store(self.folder) == self.stamp.store(self.folder)
        if held is not None and same and self._unharmed(held, stamp):
            self.stamp = stamp
            check_note(held, stamp, self.folder, whole=True)
            return
        try:
            self._open_store(stamp)
        finally:
            if held is not None and held is not self._store:
                held.close()

    def _unharmed(self, held: VectorStore, stamp: Stamp) -> bool:
        """Reload a store whose files do not end the process, and tell whether that was so."""
        try:
            check_store(self.folder, stamp)
        except DamagedStore:
            return False
        held.reload()
        return True


def _shown(identity: EmbedderIdentity) -> str:
    return json.dumps(identity.as_dict())
