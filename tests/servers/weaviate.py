"""A Weaviate of our own: REST for the schema and gRPC, from the client's stubs, for the rest.

Written after Weaviate's published protocol and source. It is strict where a real one is: a filter
on a property that the schema lacks, or a value of another type than the property's, is an error.
`NotEqual` inverts the set of equal ones, as Weaviate's inverted index does.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from weaviate.proto.v1 import (
    base_pb2,
    batch_delete_pb2,
    batch_pb2,
    properties_pb2,
    search_get_pb2,
    weaviate_pb2_grpc,
)

from ragwright.retrievers.embedding import Floats
from tests.reference import nearest
from tests.servers.rest import Answer, Query, serving

_TYPES = {"value_text": "text", "value_number": "number"}


class Weaviate:
    """Classes with their objects, in memory."""

    def __init__(self) -> None:
        self.classes: dict[str, dict[str, Any]] = {}
        self.objects: dict[str, dict[str, tuple[dict[str, Any], Floats]]] = {}

    def handle(self, method: str, path: str, query: Query, body: Any) -> Answer:
        if path == "/v1/meta":
            return 200, {"version": "1.31.0", "grpcMaxMessageSize": 104858000}
        parts = path.removeprefix("/v1/schema").strip("/").split("/")
        if method == "POST" and parts == [""]:
            self.classes[body["class"]] = _completed(body)
            self.objects[body["class"]] = {}
            return 200, self.classes[body["class"]]
        found = self.classes.get(parts[0])
        if found is None:
            return 404, {"error": [{"message": f"no class {path}"}]}
        if method == "POST" and parts[1:] == ["properties"]:
            found["properties"].append(body)
            return 200, body
        if method == "PUT":
            self.classes[parts[0]] = body
            return 200, body
        return 200, found

    def types(self, name: str) -> dict[str, str]:
        return {item["name"]: item["dataType"][0] for item in self.classes[name]["properties"]}

    def passing(self, name: str, filters: base_pb2.Filters) -> list[str]:
        """Return the ids of the objects that pass a filter."""
        types = self.types(name)
        return [
            id for id, (row, _) in self.objects[name].items() if _passes(id, row, types, filters)
        ]


def _completed(body: dict[str, Any]) -> dict[str, Any]:
    """A class as Weaviate gives it back: with every default filled in."""
    stopwords = {"preset": "en", "additions": None, "removals": None}
    inverted = {"bm25": {"b": 0.75, "k1": 1.2}, "cleanupIntervalSeconds": 60}
    graph = {
        "skip": False, "cleanupIntervalSeconds": 300, "maxConnections": 32, "efConstruction": 128,
        "ef": -1, "dynamicEfMin": 100, "dynamicEfMax": 500, "dynamicEfFactor": 8,
        "vectorCacheMaxObjects": 10**12, "flatSearchCutoff": 40000, "distance": "cosine",
        "filterStrategy": "sweeping",
    }  # fmt: skip
    vectors = {
        name: {**config, "vectorIndexConfig": {**graph, **config.get("vectorIndexConfig", {})}}
        for name, config in body["vectorConfig"].items()
    }
    return {
        "multiTenancyConfig": {"enabled": False},
        "replicationConfig": {"factor": 1, "asyncEnabled": False},
        "shardingConfig": {
            "virtualPerPhysical": 128, "desiredCount": 1, "actualCount": 1,
            "desiredVirtualCount": 128, "actualVirtualCount": 128, "key": "_id",
            "strategy": "hash", "function": "murmur3",
        },
        **body,
        "invertedIndexConfig": {**inverted, "stopwords": stopwords},
        "vectorConfig": vectors,
    }  # fmt: skip


class Service(weaviate_pb2_grpc.WeaviateServicer):
    """The three gRPC calls that a store makes."""

    def __init__(self, weaviate: Weaviate) -> None:
        self._weaviate = weaviate

    def BatchObjects(self, request: Any, context: Any) -> Any:  # noqa: N802
        errors = []
        for number, item in enumerate(request.objects):
            row = dict(item.properties.non_ref_properties.items())
            wrong = _mistyped(row, self._weaviate.types(item.collection))
            if wrong:
                error = batch_pb2.BatchObjectsReply.BatchError(index=number, error=wrong)
                errors.append(error)
                continue
            vector = np.frombuffer(item.vectors[0].vector_bytes, dtype="<f4")
            self._weaviate.objects[item.collection][str(uuid.UUID(item.uuid))] = row, vector
        return batch_pb2.BatchObjectsReply(took=0.0, errors=errors)

    def BatchDelete(self, request: Any, context: Any) -> Any:  # noqa: N802
        ids = self._weaviate.passing(request.collection, request.filters)
        for id in ids:
            del self._weaviate.objects[request.collection][id]
        count = len(ids)
        return batch_delete_pb2.BatchDeleteReply(took=0.0, matches=count, successful=count)

    def Search(self, request: Any, context: Any) -> Any:  # noqa: N802
        objects = self._weaviate.objects[request.collection]
        try:
            allowed = (
                self._weaviate.passing(request.collection, request.filters)
                if request.HasField("filters")
                else sorted(objects)
            )
        except ValueError as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        limit = request.limit or 10
        if request.HasField("near_vector"):
            vectors = {id: objects[id][1] for id in allowed}
            hits = nearest(vectors, _asked(request.near_vector), limit) if vectors else {}
        else:
            after = [id for id in sorted(allowed) if id > request.after]
            hits = dict.fromkeys(after[:limit], 1.0)
        results = [_result(id, *objects[id], score, request) for id, score in hits.items()]
        return search_get_pb2.SearchReply(took=0.0, results=results)


def _asked(near: Any) -> Floats:
    places = [*near.vectors, *(v for t in near.vector_for_targets for v in t.vectors), near]
    target = [t.vector_bytes for t in near.vector_for_targets]
    data = next(b for b in [*target, *(place.vector_bytes for place in places)] if b)
    return np.frombuffer(data, dtype="<f4")


def _result(id: str, row: dict[str, Any], vector: Floats, score: float, request: Any) -> Any:
    wanted = request.properties.non_ref_properties
    fields = {
        name: properties_pb2.Value(text_value=row[name])
        for name in wanted
        if isinstance(row.get(name), str)
    }
    metadata = search_get_pb2.MetadataResult(
        id=id, id_as_bytes=uuid.UUID(id).bytes, distance=1 - score, distance_present=True
    )
    if request.metadata.vector or request.metadata.vectors:
        data = struct.pack(f"<{len(vector)}f", *vector)
        single = base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32
        metadata.vectors.append(base_pb2.Vectors(name="default", vector_bytes=data, type=single))
    properties = search_get_pb2.PropertiesResult(
        non_ref_props=properties_pb2.Properties(fields=fields)
    )
    return search_get_pb2.SearchResult(properties=properties, metadata=metadata)


def _mistyped(row: dict[str, Any], types: dict[str, str]) -> str:
    python = {"text": str, "number": float}
    for name, value in row.items():
        if name not in types:
            return f"no such prop with name '{name}'"
        if not isinstance(value, python[types[name]]):
            return f"invalid {types[name]} property '{name}'"
    return ""


def _passes(id: str, row: dict[str, Any], types: dict[str, str], filters: Any) -> bool:
    name = base_pb2.Filters.Operator.Name(filters.operator).removeprefix("OPERATOR_")
    if name in {"AND", "OR"}:
        parts = [_passes(id, row, types, part) for part in filters.filters]
        return all(parts) if name == "AND" else any(parts)
    on = filters.target.property or filters.on[0]
    if on == "_id":
        return id in filters.value_text_array.values
    if on not in types:
        raise ValueError(f"no such prop with name '{on}' found in class")
    have = row.get(on)
    field = filters.WhichOneof("test_value")
    if _TYPES.get(field) != types[on]:
        raise ValueError(f"data type filter cannot use {field} on type {types[on]!r}")
    want = getattr(filters, field)
    if name in {"EQUAL", "NOT_EQUAL"}:
        return (have == want) == (name == "EQUAL")
    return have is not None and _compared(name, have, want)


def _compared(name: str, have: Any, want: Any) -> bool:
    compared = {
        "GREATER_THAN": have > want,
        "GREATER_THAN_EQUAL": have >= want,
        "LESS_THAN": have < want,
        "LESS_THAN_EQUAL": have <= want,
    }
    return bool(compared[name])


@contextmanager
def weaviate_server() -> Iterator[tuple[int, int]]:
    """Serve an empty Weaviate; yields the ports of REST and of gRPC."""
    weaviate = Weaviate()
    server = grpc.server(ThreadPoolExecutor(1))
    weaviate_pb2_grpc.add_WeaviateServicer_to_server(Service(weaviate), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with serving(weaviate.handle) as rest:
            yield rest, port
    finally:
        server.stop(None).wait()
