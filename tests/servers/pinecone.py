"""A Pinecone of our own: the REST calls that its client makes, over a dictionary.

Written after Pinecone's published API. Where the documentation leaves a choice, it takes the
stricter reading: `$ne` and `$nin` do not hold for what lacks the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tests.reference import nearest
from tests.servers.rest import Answer, Query, serving

Space = dict[str, dict[str, Any]]

MOST_ROWS, MOST_BYTES = 1000, 40_960


class Pinecone:
    """One index, `passages`, with its namespaces."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.port = 0
        self.spaces: dict[str, Space] = {}

    def handle(self, method: str, path: str, query: Query, body: Any) -> Answer:
        routes: dict[tuple[str, str], Callable[[Query, Any], Answer]] = {
            ("GET", "/indexes/passages"): self._describe,
            ("POST", "/describe_index_stats"): self._stats,
            ("POST", "/vectors/upsert"): self._upsert,
            ("POST", "/vectors/delete"): self._delete,
            ("POST", "/query"): self._query,
            ("GET", "/vectors/fetch"): self._fetch,
            ("GET", "/vectors/list"): self._list,
        }
        route = routes.get((method, path))
        if route is None:
            return 404, {"error": {"code": "NOT_FOUND", "message": path}, "status": 404}
        return route(query, body)

    def _describe(self, query: Query, body: Any) -> Answer:
        return 200, {
            "name": "passages",
            "schema": {
                "fields": {
                    "_values": {
                        "type": "dense_vector",
                        "dimension": self.dimension,
                        "metric": "cosine",
                    }
                }
            },
            "deployment": {
                "deployment_type": "managed",
                "cloud": "aws",
                "region": "us-east-1",
                "environment": "aws-us-east-1",
            },
            "host": f"http://127.0.0.1:{self.port}",
            "status": {"ready": True, "state": "Ready"},
            "deletion_protection": "disabled",
        }

    def _stats(self, query: Query, body: Any) -> Answer:
        counts = {name: {"vectorCount": len(rows)} for name, rows in self.spaces.items()}
        total = sum(len(rows) for rows in self.spaces.values())
        return 200, {
            "dimension": self.dimension,
            "indexFullness": 0,
            "namespaces": counts,
            "totalVectorCount": total,
        }

    def _upsert(self, query: Query, body: Any) -> Answer:
        rows = body["vectors"]
        if len(rows) > MOST_ROWS or any(not _storable(row) for row in rows):
            return 400, {"code": 3, "message": "too many rows or too large metadata"}
        space = self.spaces.setdefault(body.get("namespace", ""), {})
        space.update({row["id"]: row for row in rows})
        return 200, {"upsertedCount": len(rows)}

    def _delete(self, query: Query, body: Any) -> Answer:
        space = self.spaces.get(body.get("namespace", ""))
        if space is None:
            return 404, {"code": 5, "message": "Namespace not found"}
        for id in body["ids"]:
            space.pop(id, None)
        return 200, {}

    def _query(self, query: Query, body: Any) -> Answer:
        space = self.spaces.get(body.get("namespace", ""), {})
        where = body.get("filter")
        vectors = {
            id: np.asarray(row["values"], dtype=np.float32)
            for id, row in space.items()
            if where is None or passes(row["metadata"], where)
        }
        asked = np.asarray(body["vector"], dtype=np.float32)
        hits = nearest(vectors, asked, body["topK"]) if vectors else {}
        matches = [{"id": id, "score": score} for id, score in hits.items()]
        return 200, {"matches": matches, "namespace": body.get("namespace", "")}

    def _fetch(self, query: Query, body: Any) -> Answer:
        space = self.spaces.get(query.get("namespace", [""])[0], {})
        found = {id: _as_read(space[id]) for id in query["ids"] if id in space}
        return 200, {"vectors": found, "namespace": query.get("namespace", [""])[0]}

    def _list(self, query: Query, body: Any) -> Answer:
        ids = sorted(self.spaces.get(query.get("namespace", [""])[0], {}))
        start = int(query.get("paginationToken", ["0"])[0])
        end = start + int(query.get("limit", ["100"])[0])
        page: dict[str, Any] = {"vectors": [{"id": id} for id in ids[start:end]]}
        if end < len(ids):
            page["pagination"] = {"next": str(end)}
        return 200, page


def _storable(row: dict[str, Any]) -> bool:
    values = row["metadata"].values()
    size = sum(len(value.encode()) for value in values if isinstance(value, str))
    return size <= MOST_BYTES and all(isinstance(value, str | int | float) for value in values)


def _as_read(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers come back as floats."""
    facts = {
        key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for key, value in row["metadata"].items()
    }
    return {"id": row["id"], "values": row["values"], "metadata": facts}


def passes(facts: dict[str, Any], where: dict[str, Any]) -> bool:
    """Pinecone's filter language."""
    return all(_clause(facts, key, value) for key, value in where.items())


def _clause(facts: dict[str, Any], key: str, value: Any) -> bool:
    if key == "$and":
        return all(passes(facts, part) for part in value)
    if key == "$or":
        return any(passes(facts, part) for part in value)
    comparison = value if isinstance(value, dict) else {"$eq": value}
    return all(_holds(facts, key, name, want) for name, want in comparison.items())


def _holds(facts: dict[str, Any], key: str, name: str, want: Any) -> bool:
    if name == "$exists":
        return (key in facts) == want
    if key not in facts:
        return False
    have = facts[key]
    if name in {"$in", "$nin"}:
        if any(isinstance(value, bool) for value in want):
            raise ValueError("lists hold text and numbers")
        return any(_equal(have, value) for value in want) == (name == "$in")
    if name in {"$eq", "$ne"}:
        return _equal(have, want) == (name == "$eq")
    if isinstance(have, bool) or not isinstance(have, int | float):
        return False
    compared = {"$gt": have > want, "$gte": have >= want, "$lt": have < want, "$lte": have <= want}
    return bool(compared[name])


def _equal(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


@contextmanager
def pinecone_server(dimension: int) -> Iterator[int]:
    """Serve an empty index; yields the port."""
    pinecone = Pinecone(dimension)
    with serving(pinecone.handle) as port:
        pinecone.port = port
        yield port
