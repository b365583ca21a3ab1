"""Weaviate, as a server: REST for the schema, gRPC for the rest.

How rows and filters look there is said in `weaviate_properties.py`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.stores.base import (
    StoreRow,
    StoreURL,
    missing_client,
    missing_collection,
    slices,
    translate_client_errors,
)
from ragwright.retrievers.stores.weaviate_properties import (
    FACTS,
    TEXT,
    declare_property,
    property_kinds,
    row_from_properties,
    row_properties,
    weaviate_filter,
)
from ragwright.retrievers.types import Metadata

_VECTOR = "default"
_EF = 200


class WeaviateStore:
    """One Weaviate collection; its description is the note.

    Args:
        place: The server's URL; `?grpc=PORT` tells a gRPC port other than 50051 (443 with https).
            The key comes from `WEAVIATE_API_KEY`.
        create: Make the collection if it is missing; otherwise that is an error.

    Raises:
        IndexFault: It is missing, cannot be reached, or `weaviate-client` is not installed.
    """

    awaited = None

    def __init__(self, place: StoreURL, *, create: bool = False) -> None:
        try:
            import weaviate
        except ImportError as error:
            raise missing_client("weaviate-client", "weaviate") from error
        self._place = place
        with self._faults():
            self._client = _connected(weaviate, place)
        try:
            self._collection = self._opened(create=create)
            self._known = self._properties()
        except IndexFault:
            self._client.close()
            raise

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Floats,
        texts: Sequence[str],
        metadata: Sequence[Metadata],
    ) -> None:
        from weaviate.classes.data import DataObject

        self._declare(metadata)
        with self._faults():
            for part in slices(len(ids)):
                columns = (ids[part], vectors[part], texts[part], metadata[part])
                rows = [
                    DataObject(
                        row_properties(text, facts), uuid.UUID(id), {_VECTOR: vector.tolist()}
                    )
                    for id, vector, text, facts in zip(*columns, strict=True)
                ]
                refused = self._collection.data.insert_many(rows).errors
                if refused:
                    raise OSError(next(iter(refused.values())).message)

    def delete(self, ids: Sequence[str]) -> None:
        from weaviate.classes.query import Filter as Where

        with self._faults():
            for part in slices(len(ids)):
                wanted = [uuid.UUID(id) for id in ids[part]]
                self._collection.data.delete_many(where=Where.by_id().contains_any(wanted))

    def query(self, vector: Floats, n: int, where: Filter | None = None) -> dict[str, float]:
        allowed = weaviate_filter(where, self._has) if where else True
        if allowed is False:
            return {}
        with self._faults():
            found = self._collection.query.near_vector(
                near_vector=vector.tolist(),
                limit=n,
                filters=None if allowed is True else allowed,
                target_vector=_VECTOR,
                return_metadata=["distance"],
                return_properties=[],
            )
        return {item.uuid.hex: 1 - float(item.metadata.distance) for item in found.objects}

    def ids(self) -> Iterator[str]:
        with self._faults():
            for item in self._collection.iterator(return_properties=[], cache_size=1000):
                yield item.uuid.hex

    def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        from weaviate.classes.query import Filter as Where

        rows: dict[str, StoreRow] = {}
        with self._faults():
            for part in slices(len(ids)):
                wanted = Where.by_id().contains_any([uuid.UUID(id) for id in ids[part]])
                found = self._collection.query.fetch_objects(
                    filters=wanted,
                    limit=len(ids[part]),
                    include_vector=True,
                    return_properties=[TEXT, FACTS],
                )
                for item in found.objects:
                    rows[item.uuid.hex] = row_from_properties(item.vector[_VECTOR], item.properties)
        return rows

    def stamp(self) -> str:
        with self._faults():
            return self._collection.config.get().description or ""

    def set_stamp(self, text: str) -> None:
        with self._faults():
            self._collection.config.update(description=text)

    def reload(self) -> None:
        """The server shows every write at once."""

    def mend(self, *, broken: bool = False) -> None:
        """The server looks after its own files."""

    def close(self) -> None:
        self._client.close()

    def _opened(self, *, create: bool) -> Any:
        name = self._place.collection
        with self._faults():
            if self._client.collections.exists(name):
                return self._client.collections.get(name)
            if not create:
                raise missing_collection(self._place)
            return _created(self._client, name, self._place)

    def _properties(self) -> set[str]:
        with self._faults():
            return {item.name for item in self._collection.config.get().properties}

    def _has(self, name: str) -> bool:
        """Tell whether there is a property; another process may have added it."""
        if name not in self._known:
            self._known = self._properties()
        return name in self._known

    def _declare(self, metadata: Sequence[Metadata]) -> None:
        """Add the properties that rows need."""
        needed = property_kinds(metadata)
        for name in sorted(needed.keys() - self._known):
            if not self._has(name):
                with self._faults():
                    self._collection.config.add_property(declare_property(name, needed[name]))
                self._known.add(name)

    def _faults(self) -> AbstractContextManager[None]:
        import grpc
        import httpx
        from weaviate.exceptions import WeaviateBaseError

        return translate_client_errors(
            self._place, WeaviateBaseError, httpx.HTTPError, grpc.RpcError, OSError
        )


def _created(client: Any, name: str, place: StoreURL) -> Any:
    from weaviate.classes.config import Configure, VectorDistances

    given = {"ef": _EF, **place.graph.named("max_connections", "ef_construction", "ef")}
    graph = Configure.VectorIndex.hnsw(distance_metric=VectorDistances.COSINE, **given)
    return client.collections.create(
        name,
        properties=[declare_property(column, "text", filterable=False) for column in (TEXT, FACTS)],
        vector_config=Configure.Vectors.self_provided(name=_VECTOR, vector_index_config=graph),
    )


def _connected(weaviate: Any, place: StoreURL) -> Any:
    url = urlsplit(place.address)
    secure = url.scheme == "https"
    ports = parse_qs(url.query).get("grpc", [])
    key = os.environ.get("WEAVIATE_API_KEY")
    return weaviate.connect_to_custom(
        http_host=url.hostname or "",
        http_port=url.port or (443 if secure else 8080),
        http_secure=secure,
        grpc_host=url.hostname or "",
        grpc_port=int(ports[0]) if ports else (443 if secure else 50051),
        grpc_secure=secure,
        auth_credentials=weaviate.auth.AuthApiKey(key) if key else None,
        skip_init_checks=True,
    )
