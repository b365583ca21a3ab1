"""The parts of one index, open for reading: a folder in, its open ledger, stores and embedder out.

Whether they belong together is checked when they are opened, and again when another process has
written: `refresh` opens anew what does not see that by itself. Knows neither questions nor
passages.
"""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack, closing
from pathlib import Path

from ragwright.retrievers.embedding import EmbedderIdentity, load_embedder
from ragwright.retrievers.errors import IdentityError
from ragwright.retrievers.keyword import KeywordIndex
from ragwright.retrievers.late import TokenVectors
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.lock import writing
from ragwright.retrievers.parts import open_keyword, rebuild_keyword
from ragwright.retrievers.returned import returned_by
from ragwright.retrievers.stamp import Stamp, check_note
from ragwright.retrievers.stores.opening import open_store


class ReadParts:
    """The open parts of the index in a folder. Safe to use from several threads.

    Args:
        folder: The folder of the index.

    Attributes:
        stamp: How the index was made and where its vectors lie; `refresh` may put another here.
        store: The vector store; `refresh` may put another here.

    Raises:
        IndexFault: There is no index, or a part of it is missing or damaged.
        IdentityError: The embedder of that name is not the one the index was made with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stamp = Stamp.read(folder)
        settings, identity = self.stamp.settings, self.stamp.identity
        self.embedder = load_embedder(settings.embedder, settings.engine)
        if self.embedder.identity != identity:
            raise IdentityError(
                f"The index {str(folder)!r} was made with {_shown(identity)}, "
                f"but {settings.embedder!r} is now {_shown(self.embedder.identity)}.",
                hint="Install the embedder it was made with, or ingest into a new folder.",
            )
        with ExitStack() as opened:
            self.ledger = opened.enter_context(closing(Ledger(folder / "ledger.sqlite")))
            self.returned = returned_by(self.ledger, settings.chunking)
            self.tokens = TokenVectors(folder, identity.dimension)
            self.tokens.require(self.ledger.counter("token_file"))
            self.keyword = opened.enter_context(closing(self._current_keyword()))
            self.store = open_store(self.stamp.store(folder), dimension=identity.dimension)
            opened.callback(self._close_store)
            check_note(self.store, self.stamp, folder, whole=True)
            self._seen = self.ledger.generation
            self._opened = opened.pop_all()
        self._lock = threading.Lock()

    def _current_keyword(self) -> KeywordIndex:
        """Open the keyword index; one that another version made is built anew from the ledger."""
        keyword = open_keyword(self.folder, self.stamp)
        if keyword.outdated:
            with writing(self.folder):
                rebuild_keyword(keyword, self.ledger, self.stamp)
        return keyword

    def refresh(self) -> None:
        """Open anew what does not see another process's writes by itself.

        Raises:
            IndexFault: The vector store is gone, is another index's, or may lack vectors.
        """
        generation = self.ledger.generation
        if generation == self._seen:
            return
        with self._lock:
            if generation != self._seen:
                self._reload_store()
                self.keyword.reload()
                self._seen = generation

    def close(self) -> None:
        """Let go of files."""
        self._opened.close()

    def _close_store(self) -> None:
        """Let go of the store, which may be another by then than the one that was opened."""
        self.store.close()

    def _reload_store(self) -> None:
        stamp = Stamp.read(self.folder)
        if stamp.store(self.folder) == self.stamp.store(self.folder):
            self.store.reload()
            check_note(self.store, self.stamp, self.folder, whole=True)
            return
        dimension = stamp.identity.dimension
        moved, self.store = self.store, open_store(stamp.store(self.folder), dimension=dimension)
        self.stamp = stamp
        moved.close()


def _shown(identity: EmbedderIdentity) -> str:
    return json.dumps(identity.as_dict())
