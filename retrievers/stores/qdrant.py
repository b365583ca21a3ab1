"""Qdrant, embedded in a folder or as a server. Embedded, it is for trying out: one process at a
time can open it, it searches by brute force, and it commits every row by itself.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.filters import NEGATED, ORDERED, WITHIN, Condition, Filter, Junction
from ragwright.retrievers.stores.base import (
    StoreRow,
    StoreURL,
    missing_client,
    missing_collection,
    slices,
    translate_client_errors,
)
from ragwright.retrievers.types import Metadata, Scalar

_HNSW_EF = 200
_OVERSAMPLING = 2.0
"""Quantized vectors that are compared anew as they are, for each that is wanted."""
_STAMP_POINT = 0
_LISTS = "lists"
_DIGITS = 32
"""Of the id of a chunk; a number of Qdrant's has fewer."""


class QdrantStore:
    """One Qdrant collection, and a second, `...-stamp`, that holds its note.

    Texts lie in the payload under `text`, metadata under `metadata`, the lists among them under
    `lists`.

    Args:
        place: A folder, or the URL of a server; its key comes from `QDRANT_API_KEY`.
        dimension: Length of a vector.
        create: Make the collection if it is missing; otherwise that is an error.

    Raises:
        IndexFault: It is missing, cannot be reached, or `qdrant-client` is not installed.
    """

    awaited = None

    def __init__(self, place: StoreURL, *, dimension: int | None, create: bool = False) -> None:
        try:
            from qdrant_client import models
        except ImportError as error:
            raise missing_client("qdrant-client", "qdrant") from error
        self._place = place
        self._models = models
        self._name = place.collection
        self._graph = place.graph
        self._search = self._searching() if place.remote else None
        self._client, self._release = open_client(place)
        try:
            self._require(self._name, dimension, create=create)
        except IndexFault:
            self._release()
            raise

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Floats,
        texts: Sequence[str],
        metadata: Sequence[Metadata],
    ) -> None:
        points = (
            self._models.PointStruct(
                id=_point(id), vector=vector.tolist(), payload=_payload(text, facts)
            )
            for id, vector, text, facts in zip(ids, vectors, texts, metadata, strict=True)
        )
        self._put(self._name, list(points))

    def delete(self, ids: Sequence[str]) -> None:
        with self._faults():
            for part in slices(len(ids)):
                selector = self._models.PointIdsList(points=[_point(id) for id in ids[part]])
                self._client.delete(self._name, points_selector=selector, wait=True)

    def query(self, vector: Floats, n: int, where: Filter | None = None) -> dict[str, float]:
        with self._faults():
            found = self._client.query_points(
                self._name,
                query=vector.tolist(),
                limit=n,
                query_filter=self._translated(where) if where else None,
                search_params=self._search,
                with_payload=False,
            )
        return {_id(point.id): float(point.score) for point in found.points}

    def ids(self) -> Iterator[str]:
        offset = None
        with self._faults():
            while True:
                points, offset = self._client.scroll(
                    self._name, limit=10_000, offset=offset, with_payload=False
                )
                yield from (_id(point.id) for point in points)
                if offset is None:
                    return

    def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        rows: dict[str, StoreRow] = {}
        with self._faults():
            for part in slices(len(ids)):
                points = [_point(id) for id in ids[part]]
                for point in self._client.retrieve(self._name, points, with_vectors=True):
                    vector = np.asarray(point.vector, dtype=np.float32)
                    payload = point.payload
                    facts = {**payload["metadata"], **payload.get(_LISTS, {})}
                    rows[_id(point.id)] = StoreRow(vector, payload["text"], facts)
        return rows

    def stamp(self) -> str:
        with self._faults():
            if not self._client.collection_exists(self._stamp_name):
                return ""
            points = self._client.retrieve(self._stamp_name, [_STAMP_POINT])
        return str(points[0].payload["note"]) if points else ""

    def set_stamp(self, text: str) -> None:
        self._require(self._stamp_name, 1, create=True)
        point = self._models.PointStruct(id=_STAMP_POINT, vector=[1.0], payload={"note": text})
        self._put(self._stamp_name, [point])

    def reload(self) -> None:
        """A server shows every write at once, and an embedded store has this process alone."""

    def mend(self, *, broken: bool = False) -> None:
        """Qdrant checks and replays its log when it starts."""

    def close(self) -> None:
        self._release()

    @property
    def _stamp_name(self) -> str:
        return f"{self._name}-stamp"

    def _require(self, name: str, dimension: int | None, *, create: bool) -> None:
        with self._faults():
            if self._client.collection_exists(name):
                return
            if not create or dimension is None:
                raise missing_collection(self._place)
            cosine = self._models.Distance.COSINE
            away = {"on_disk": True} if self._graph.on_disk else {}
            params = self._models.VectorParams(size=dimension, distance=cosine, **away)
            given = self._graph.model_copy(update={"search": None})
            graph = given.named("m", "ef_construct", "")
            self._client.create_collection(
                name,
                vectors_config=params,
                hnsw_config=self._models.HnswConfigDiff(**graph),
                quantization_config=self._quantized(),
            )

    def _quantized(self) -> Any:
        """How a new collection keeps the vectors that it compares first: always in memory."""
        models = self._models
        match self._graph.quantization:
            case "scalar":
                byte = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
                return models.ScalarQuantization(scalar=byte)
            case "binary":
                bit = models.BinaryQuantizationConfig(always_ram=True)
                return models.BinaryQuantization(binary=bit)
        return None

    def _searching(self) -> Any:
        models = self._models
        anew = models.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING)
        quantized = self._graph.quantization != "none"
        return models.SearchParams(
            hnsw_ef=self._graph.search or _HNSW_EF, quantization=anew if quantized else None
        )

    def _put(self, name: str, points: Sequence[Any]) -> None:
        with self._faults():
            for part in slices(len(points)):
                self._client.upsert(name, points=list(points[part]), wait=True)

    def _faults(self) -> AbstractContextManager[None]:
        return translate_qdrant_errors(self._place)

    def _translated(self, where: Filter) -> Any:
        if isinstance(where, Junction):
            parts = [self._translated(part) for part in where.parts]
            both = where.operator == "$and"
            return self._models.Filter(must=parts) if both else self._models.Filter(should=parts)
        equal = [self._compared(where, value) for value in where.values]
        if where.operator in NEGATED:
            return self._models.Filter(must_not=equal)
        return self._models.Filter(should=equal)

    def _compared(self, where: Condition, value: Scalar) -> Any:
        if '"' in where.key:
            raise InputError(f"Qdrant cannot filter on the key {where.key!r}: it holds a quote.")
        within = where.operator in WITHIN
        key = f'{_LISTS}."{where.key}"[]' if within else f'metadata."{where.key}"'
        if where.operator in ORDERED:
            limits = {where.operator[1:]: value}
        elif where.kind == "number" and not _exact_only(value):
            # A match is of whole numbers or of nothing; a range holds 1 and 1.0 alike.
            limits = {"gte": value, "lte": value}
        else:
            match = self._models.MatchValue(value=value)
            return self._models.FieldCondition(key=key, match=match)
        return self._models.FieldCondition(key=key, range=self._models.Range(**limits))


def _payload(text: str, facts: Metadata) -> dict[str, Any]:
    """Return a row's payload. Lists lie apart: Qdrant would take one for each of its values."""
    single = {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
    lists = {key: list(facts[key]) for key in facts.keys() - single.keys()}
    return {"text": text, "metadata": single, **({_LISTS: lists} if lists else {})}


def _exact_only(value: Scalar) -> bool:
    """Tell whether a whole number is none of the 64-bit floats, which ranges are of."""
    return isinstance(value, int) and int(float(value)) != value


def _point(id: str) -> str | int:
    return int(id) if len(id) < _DIGITS else str(uuid.UUID(id))


def _id(point: str | int) -> str:
    """Return a chunk's id; a point that others put there may have a number."""
    return str(point) if isinstance(point, int) else uuid.UUID(point).hex


_LOCK = threading.Lock()
_EMBEDDED: dict[str, tuple[Any, int, int | None]] = {}
"""Clients of folders, the number of their users, and which file they have open: Qdrant allows one
client of a folder."""


def translate_qdrant_errors(place: StoreURL) -> AbstractContextManager[None]:
    """Tell as a fault of the store in a place what the client raises inside."""
    from qdrant_client.http.exceptions import ApiException

    return translate_client_errors(place, ApiException, ValueError, OSError, sqlite3.Error)


def open_client(place: StoreURL) -> tuple[Any, Callable[[], None]]:
    """Return a client and what lets go of it."""
    from qdrant_client import QdrantClient

    if place.remote:
        client = QdrantClient(
            url=place.address,
            api_key=os.environ.get("QDRANT_API_KEY"),
            check_compatibility=False,
            timeout=60,
        )
        return client, client.close
    with _LOCK:
        client, users, file = _EMBEDDED.get(place.address, (None, 0, None))
        if client is None or file != _file_of(place):  # the folder was deleted, or replaced
            client, users = _embedded(place), 0
        _EMBEDDED[place.address] = client, users + 1, _file_of(place)
    return client, lambda: _let_go(place.address, client)


def _embedded(place: StoreURL) -> Any:
    from qdrant_client import QdrantClient

    try:
        client = QdrantClient(path=place.address)
    except RuntimeError as error:
        raise IndexFault(
            f"The Qdrant store {str(place)!r} is open in another process.",
            hint="Embedded, one process at a time can use it: run a server for several.",
        ) from error
    # Left to the garbage collector, it complains while the interpreter shuts down.
    atexit.register(client.close)
    return client


def _file_of(place: StoreURL) -> int | None:
    """Return the number of the file that locks a folder."""
    try:
        return (Path(place.address) / ".lock").stat().st_ino
    except OSError:
        return None


def _let_go(address: str, client: Any) -> None:
    with _LOCK:
        held, users, file = _EMBEDDED.get(address, (None, 0, None))
        if held is not client:  # its folder was replaced, and another client is in use
            atexit.unregister(client.close)
            client.close()
            return
        del _EMBEDDED[address]
        if users > 1:
            _EMBEDDED[address] = client, users - 1, file
        else:
            atexit.unregister(client.close)
            client.close()
