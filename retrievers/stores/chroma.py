"""Chroma, embedded: the default vector store."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retrievers.embedding import Floats
from retrievers.errors import IndexFault, InputError
from retrievers.stores.base import Where
from retrievers.types import Metadata

COLLECTION = "passages"
_ROWS_PER_CALL = 1000
_EF_SEARCH = 200


class ChromaStore:
    """One Chroma collection in a folder.

    Args:
        folder: Chroma's folder.
        create: Make folder and collection if they are missing; otherwise that is an error,
            because Chroma would silently create an empty one.

    Raises:
        IndexFault: The folder or the collection is missing.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        if not create and not (folder / "chroma.sqlite3").is_file():
            raise IndexFault(f"There is no Chroma store at {str(folder)!r}.", hint="Ingest again.")
        self._folder = folder
        # A query while another thread reopens the client would find a closed one.
        self._lock = threading.Lock()
        self._open(create=create)

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Floats,
        texts: Sequence[str],
        metadata: Sequence[Metadata],
    ) -> None:
        for start in range(0, len(ids), _ROWS_PER_CALL):
            part = slice(start, start + _ROWS_PER_CALL)
            self._collection.upsert(
                ids=list(ids[part]),
                embeddings=vectors[part],
                documents=list(texts[part]),
                metadatas=[dict(values) for values in metadata[part]],
            )

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _ROWS_PER_CALL):
            self._collection.delete(ids=list(ids[start : start + _ROWS_PER_CALL]))

    def query(self, vector: Floats, n: int, where: Where | None = None) -> dict[str, float]:
        with self._lock:
            try:
                found = self._collection.query(
                    query_embeddings=np.asarray([vector]),
                    n_results=n,
                    where=dict(where) if where else None,
                    include=["distances"],
                )
            except ValueError as error:
                raise InputError(f"Chroma refuses the filter {where!r}: {error}") from error
        distances = found["distances"][0]
        return {
            id: 1 - float(distance) for id, distance in zip(found["ids"][0], distances, strict=True)
        }

    def ids(self) -> set[str]:
        return set(self._collection.get(include=[])["ids"])

    def reload(self) -> None:
        """Open the collection anew: Chroma does not show another process's rows otherwise."""
        with self._lock:
            self._client.close()
            self._open(create=False)

    def close(self) -> None:
        with self._lock:
            self._client.close()

    def _open(self, *, create: bool) -> None:
        import chromadb
        from chromadb.config import Settings
        from chromadb.errors import NotFoundError

        settings = Settings(anonymized_telemetry=False)
        self._client = chromadb.PersistentClient(str(self._folder), settings=settings)
        try:
            self._collection = self._collection_of(self._client, create=create)
        except NotFoundError as error:
            raise IndexFault(
                f"The Chroma store {str(self._folder)!r} has no collection {COLLECTION!r}.",
                hint="Ingest again.",
            ) from error

    @staticmethod
    def _collection_of(client: Any, *, create: bool) -> Any:
        if not create:
            return client.get_collection(COLLECTION, embedding_function=None)
        return client.get_or_create_collection(
            COLLECTION,
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine", "ef_search": _EF_SEARCH}},
        )
