"""Weaviate, as a server: REST for the schema, gRPC for the rest."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from retrievers.embedding import Floats
from retrievers.errors import IndexFault
from retrievers.filters import ORDERED, Condition, Filter, Junction, Kind, kind_of
from retrievers.stores.base import (
    Row,
    StoreURL,
    faults,
    missing_client,
    no_collection,
    slices,
)
from retrievers.types import Metadata, Scalar

_TEXT, _FACTS = "text", "facts"
_VECTOR = "default"
_EF = 200
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_]{1,100}")


class WeaviateStore:
    """One Weaviate collection; its description is the note.

    Weaviate wants one type for each property, so a metadata key becomes one property for each
    kind of its values: `number_year`, `text_lang`. The text and a JSON copy of the metadata lie
    beside them.

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
                    DataObject(_row(text, facts), uuid.UUID(id), {_VECTOR: vector.tolist()})
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
        allowed = _Translator(self._has).translated(where) if where else True
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

    def fetch(self, ids: Sequence[str]) -> dict[str, Row]:
        from weaviate.classes.query import Filter as Where

        rows: dict[str, Row] = {}
        with self._faults():
            for part in slices(len(ids)):
                wanted = Where.by_id().contains_any([uuid.UUID(id) for id in ids[part]])
                found = self._collection.query.fetch_objects(
                    filters=wanted,
                    limit=len(ids[part]),
                    include_vector=True,
                    return_properties=[_TEXT, _FACTS],
                )
                for item in found.objects:
                    vector = np.asarray(item.vector[_VECTOR], dtype=np.float32)
                    facts = json.loads(item.properties[_FACTS])
                    rows[item.uuid.hex] = Row(vector, item.properties[_TEXT], facts)
        return rows

    def stamp(self) -> str:
        with self._faults():
            return self._collection.config.get().description or ""

    def set_stamp(self, text: str) -> None:
        with self._faults():
            self._collection.config.update(description=text)

    def reload(self) -> None:
        """The server shows every write at once."""

    def mend(self) -> None:
        """The server looks after its own files."""

    def close(self) -> None:
        self._client.close()

    def _opened(self, *, create: bool) -> Any:
        name = self._place.collection
        with self._faults():
            if self._client.collections.exists(name):
                return self._client.collections.get(name)
            if not create:
                raise no_collection(self._place)
            return _created(self._client, name)

    def _properties(self) -> set[str]:
        with self._faults():
            return {item.name for item in self._collection.config.get().properties}

    def _has(self, name: str) -> bool:
        """Tell whether there is a property; another process may have added it."""
        if name not in self._known:
            self._known = self._properties()
        return name in self._known

    def _declare(self, metadata: Sequence[Metadata]) -> None:
        """Add the properties that rows need: Weaviate would guess their types."""
        kinds = {
            _property(key, kind_of(value)): kind_of(value)
            for facts in metadata
            for key, value in facts.items()
        }
        for name in sorted(kinds.keys() - self._known):
            if not self._has(name):
                with self._faults():
                    self._collection.config.add_property(_declared(name, kinds[name]))
                self._known.add(name)

    def _faults(self) -> AbstractContextManager[None]:
        import grpc
        import httpx
        from weaviate.exceptions import WeaviateBaseError

        return faults(self._place, WeaviateBaseError, httpx.HTTPError, grpc.RpcError, OSError)


class _Translator:
    """Turns a filter into Weaviate's, or into True or False where the properties decide it."""

    def __init__(self, has: Callable[[str], bool]) -> None:
        self._has = has

    def translated(self, where: Filter) -> Any:
        if isinstance(where, Condition):
            return self._condition(where)
        parts = [self.translated(part) for part in where.parts]
        deciding = where.operator == "$or"
        if deciding in parts:
            return deciding
        open_parts = [part for part in parts if not isinstance(part, bool)]
        return _joined(where, open_parts) if open_parts else not deciding

    def _condition(self, where: Condition) -> Any:
        from weaviate.classes.query import Filter as Where

        name = _property(where.key, where.kind)
        negated = where.operator in {"$ne", "$nin"}
        if not self._has(name):
            return negated
        found = Where.by_property(name)
        values = [_stored(value) for value in where.values]
        if where.operator in ORDERED:
            compare = {
                "$gt": found.greater_than,
                "$gte": found.greater_or_equal,
                "$lt": found.less_than,
                "$lte": found.less_or_equal,
            }[where.operator]
            return compare(values[0])
        if negated:
            # Weaviate inverts the set of equal ones, so what lacks the property is in it.
            return reduce(lambda a, b: a & b, (found.not_equal(value) for value in values))
        return reduce(lambda a, b: a | b, (found.equal(value) for value in values))


def _joined(where: Junction, parts: Sequence[Any]) -> Any:
    from weaviate.classes.query import Filter as Where

    if len(parts) == 1:
        return parts[0]
    return Where.all_of(list(parts)) if where.operator == "$and" else Where.any_of(list(parts))


def _property(key: str, kind: Kind) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return f"{kind}_{key}"
    return f"{kind}__{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"


def _row(text: str, facts: Metadata) -> dict[str, Scalar]:
    row: dict[str, Scalar] = {_TEXT: text, _FACTS: json.dumps(dict(facts))}
    for key, value in facts.items():
        row[_property(key, kind_of(value))] = _stored(value)
    return row


def _stored(value: Scalar) -> str | float:
    """Numbers are floats, and booleans words: the client cannot filter on booleans."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else float(value)


def _declared(name: str, kind: Kind, *, filterable: bool = True) -> Any:
    from weaviate.classes.config import DataType, Property, Tokenization

    number = kind == "number"
    return Property(
        name=name,
        data_type=DataType.NUMBER if number else DataType.TEXT,
        index_filterable=filterable,
        index_searchable=False,
        tokenization=None if number else Tokenization.FIELD,
    )


def _created(client: Any, name: str) -> Any:
    from weaviate.classes.config import Configure, VectorDistances

    graph = Configure.VectorIndex.hnsw(distance_metric=VectorDistances.COSINE, ef=_EF)
    return client.collections.create(
        name,
        properties=[_declared(column, "text", filterable=False) for column in (_TEXT, _FACTS)],
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
