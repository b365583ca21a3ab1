"""Chroma, embedded in a folder or as a server."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import DamagedStore, IndexFault
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.metadata import with_float_lists
from ragwright.retrievers.stores.base import (
    StoreRow,
    StoreURL,
    closed_store,
    missing_collection,
    slices,
    translate_client_errors,
)
from ragwright.retrievers.stores.chroma_async import AwaitedChroma
from ragwright.retrievers.stores.chroma_calls import (
    FETCHED,
    cosines_by_id,
    query_arguments,
    rows_by_id,
    translate_chroma_errors,
)
from ragwright.retrievers.stores.chroma_damage import drop_collection, try_writing
from ragwright.retrievers.stores.chroma_internals import (
    close_connections,
    forget_failed_system,
    forget_system,
    last_write,
    model_of,
)
from ragwright.retrievers.types import Metadata

_STAMP = "ragwright"
_FIRST, _PAGE = 100, 10_000
"""Ids that are read at a time: those of the first page, and of every other."""
_GRAPH = {"max_neighbors": 32, "ef_construction": 200, "ef_search": 400}
"""Over 20,000 vectors that are hard to search, 16 neighbours, 100 and 200 found 96.6 % of the ten
nearest, these 99.8 % (`benchmarks/index_copy.py` prints it for the settings in use)."""


class ChromaStore:
    """One Chroma collection.

    Args:
        place: A folder, or the URL of a server (`chroma run`).
        create: Make folder and collection if they are missing; otherwise that is an error,
            because Chroma would silently create an empty one.

    Raises:
        IndexFault: The folder or the collection is missing, or the server cannot be reached.
    """

    def __init__(self, place: StoreURL, *, create: bool = False) -> None:
        self._place = place
        file = Path(place.address) / "chroma.sqlite3"
        if not place.remote and not create and not file.is_file():
            raise missing_collection(place)
        self._gate = _Gate()
        self._closed = False
        self.awaited: AwaitedChroma | None = None
        with self._faults():
            self._open(create=create)

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Floats,
        texts: Sequence[str],
        metadata: Sequence[Metadata],
    ) -> None:
        with self._faults():
            for part in slices(len(ids)):
                self._collection.upsert(
                    ids=list(ids[part]),
                    embeddings=vectors[part],
                    documents=list(texts[part]),
                    metadatas=[with_float_lists(values) for values in metadata[part]],
                )

    def delete(self, ids: Sequence[str]) -> None:
        with self._faults():
            for part in slices(len(ids)):
                self._collection.delete(ids=list(ids[part]))

    def query(self, vector: Floats, n: int, where: Filter | None = None) -> dict[str, float]:
        with self._gate.shared(), self._faults():
            return cosines_by_id(self._collection.query(**query_arguments(vector, n, where)))

    def ids(self) -> Iterator[str]:
        with self._faults():
            count = self._collection.count()
            # Whoever only asks whether there is one waits for a short page.
            starts = [0, *range(_FIRST, count, _PAGE)]
            for start, end in zip(starts, [*starts[1:], count], strict=True):
                page = self._collection.get(include=[], limit=max(1, end - start), offset=start)
                yield from page["ids"]

    def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        found: dict[str, StoreRow] = {}
        with self._gate.shared(), self._faults():
            for part in slices(len(ids)):
                found |= rows_by_id(self._collection.get(ids=list(ids[part]), include=FETCHED))
        return found

    def stamp(self) -> str:
        return str((self._collection.metadata or {}).get(_STAMP, ""))

    def set_stamp(self, text: str) -> None:
        with self._faults():
            self._collection.modify(metadata={_STAMP: text})

    @property
    def space(self) -> str:
        """What distance the collection measures: "cosine", "l2" (squared) or "ip"."""
        return str((self._collection.configuration_json.get("hnsw") or {}).get("space", "l2"))

    @property
    def embedding_function(self) -> Mapping[str, Any]:
        """What the collection's configuration says of its embedding function; maybe nothing."""
        return self._collection.configuration_json.get("embedding_function") or {}

    def revision(self) -> str:
        """Return what changes when rows are written: their number, and in a folder the last write.

        A server does not say when a row was last changed.
        """
        with self._gate.shared(), self._faults():
            count = self._collection.count()
            if self._place.remote:
                return str(count)
            file = Path(self._place.address) / "chroma.sqlite3"
            with translate_client_errors(self._place, sqlite3.Error):
                return f"{count}:{last_write(file, self._collection.id)}"

    def reload(self) -> None:
        """Open an embedded collection anew: another process's rows are not found otherwise.

        A server's collection may have been made anew, and then has another id.
        """
        if self._place.remote:
            with self._faults():
                self._take(create=False)
            return
        with self._gate.alone(), self._faults():
            self._shut()
            self._open(create=False)

    def mend(self, *, broken: bool = False) -> None:
        """Chroma, killed while it writes its graph, may be unable to read it ever after."""
        try:
            with self._faults():
                if not broken:
                    self._collection.get(limit=1, include=["embeddings"])
                    return
        except DamagedStore:
            pass
        with self._gate.alone(), self._faults():
            try_writing(self._client, self._place)
            drop_collection(self._client, self._place, self._collection)
            self._take(create=True)

    def close(self) -> None:
        with self._gate.alone():
            self._closed = True
            self._shut()

    def _shut(self) -> None:
        if self._place.remote or _FILES.get(self._place.address) is self._file:
            # Otherwise it would close the client of the store that was put in its place.
            with _STARTING:
                self._client.close()
        if self.awaited is not None:
            self.awaited.close()
        if self._place.remote:
            close_connections(self._client)

    def _open(self, *, create: bool) -> None:
        self._client = _client(self._place)
        self._file = _FILES.get(self._place.address)
        try:
            self._take(create=create)
        except IndexFault:
            self._shut()
            raise
        if self._place.remote:
            settings = self._client.get_settings()
            self.awaited = AwaitedChroma(self._place, settings, model_of(self._collection))

    def _take(self, *, create: bool) -> None:
        from chromadb.errors import NotFoundError

        try:
            self._collection = _collection(self._client, self._place, create=create)
        except NotFoundError as error:
            raise missing_collection(self._place) from error
        if self.awaited is not None:
            self.awaited.model = self._collection._model

    @contextmanager
    def _faults(self) -> Iterator[None]:
        if self._closed:
            raise closed_store(self._place)
        with translate_chroma_errors(self._place):
            yield


def collection_names(place: StoreURL) -> list[str]:
    """Return the names of all collections where a store is, in order.

    Raises:
        IndexFault: The server cannot be reached, or the folder is not Chroma's.
    """
    with translate_chroma_errors(place):
        client = _client(place)
        try:
            return sorted(one.name for one in client.list_collections())
        finally:
            client.close()
            if place.remote:
                close_connections(client)


class _Gate:
    """Lets queries through side by side, and a reopening only while there is none.

    A query while another thread reopens the client would find a closed one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._inside)
            yield


def _client(place: StoreURL) -> Any:
    import chromadb
    from chromadb.config import Settings

    if not place.remote:
        return _embedded(place)
    url = urlsplit(place.address)
    ssl = url.scheme == "https"
    # Left unset, Chroma's asynchronous client would accept any certificate.
    settings = Settings(anonymized_telemetry=False, chroma_server_ssl_verify=ssl or None)
    port = url.port or (443 if ssl else 8000)
    token = os.environ.get("CHROMA_API_KEY")
    headers = {"x-chroma-token": token} if token else None
    return chromadb.HttpClient(url.hostname or "", port, ssl, headers, settings)


_STARTING = threading.Lock()
"""Chroma counts the clients of a folder without one: a thread that closes the last while another
opens the next leaves that with a system that was stopped."""
_FILES: dict[str, tuple[int, int] | None] = {}
"""Which file the client of each folder has open."""


def _file_of(place: StoreURL) -> tuple[int, int] | None:
    try:
        found = (Path(place.address) / "chroma.sqlite3").stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _forget_replaced(place: StoreURL) -> None:
    """Stop a client whose folder was deleted or replaced: Chroma would go on with it."""
    known = _FILES.get(place.address)
    if known is None or known == _file_of(place):
        return
    forget_system(place.address)
    del _FILES[place.address]


def _embedded(place: StoreURL) -> Any:
    with _STARTING:
        return _started(place)


def _started(place: StoreURL) -> Any:
    import chromadb
    from chromadb.config import Settings
    from chromadb.errors import ChromaError

    _forget_replaced(place)
    try:
        client = chromadb.PersistentClient(place.address, Settings(anonymized_telemetry=False))
        # One object for all clients of a file: numbers of deleted files are given out again.
        _FILES.setdefault(place.address, _file_of(place))
        return client
    except ChromaError:
        forget_failed_system(place.address)
        raise


def _collection(client: Any, place: StoreURL, *, create: bool) -> Any:
    name, graph = place.collection, place.graph
    if not create:
        return client.get_collection(name, embedding_function=None)
    given = graph.named("max_neighbors", "ef_construction", "ef_search")
    return client.get_or_create_collection(
        name,
        embedding_function=None,
        configuration={"hnsw": {"space": "cosine", **_GRAPH, **given}},
    )
