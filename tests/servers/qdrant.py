"""A Qdrant server of our own: its REST calls, read with the client's models and answered by the
engine that the client embeds. It proves what goes over the wire, not Qdrant's own server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qdrant_client import QdrantClient, models

from tests.servers.rest import Answer, Query, serving

_PATH = re.compile(r"/collections/(?P<name>[^/]+)(?P<rest>/.*)?")


class Qdrant:
    """Collections in memory; what was asked for is kept, since the engine heeds half of it."""

    def __init__(self) -> None:
        self.engine = QdrantClient(":memory:")
        self.created: dict[str, models.CreateCollection] = {}
        self.asked: list[models.QueryRequest] = []

    def handle(self, method: str, path: str, query: Query, body: Any) -> Answer:
        match = _PATH.fullmatch(path)
        if match is None:
            return 404, {"status": {"error": path}, "time": 0.0}
        return self._collection(match["name"], f"{method} {match['rest'] or ''}", body)

    def _collection(self, name: str, call: str, body: Any) -> Answer:
        exists = self.engine.collection_exists(name)
        if call == "GET /exists":
            return _ok({"exists": exists})
        if call == "PUT ":
            created = models.CreateCollection.model_validate(body)
            self.created[name] = created
            self.engine.create_collection(name, vectors_config=created.vectors)
            return _ok(True)
        if not exists:
            return 404, {"status": {"error": f"Not found: Collection `{name}`"}, "time": 0.0}
        if call == "GET ":
            return _ok(self.engine.get_collection(name).model_dump(mode="json"))
        if call == "POST /points/count":
            return _ok(self.engine.count(name).model_dump())
        return _ok(self._points(name, call, body))

    def _points(self, name: str, call: str, body: Any) -> Any:
        match call:
            case "PUT /points":
                points = models.PointsList.model_validate(body).points
                self.engine.upsert(name, points)
                return {"operation_id": 1, "status": "completed"}
            case "POST /points/delete":
                self.engine.delete(name, models.PointIdsList.model_validate(body))
                return {"operation_id": 1, "status": "completed"}
            case "POST /points":
                asked = models.PointRequest.model_validate(body)
                vectors = bool(asked.with_vector)
                found = self.engine.retrieve(name, asked.ids, with_vectors=vectors)
                return [record.model_dump() for record in found]
            case "POST /points/scroll":
                scroll = models.ScrollRequest.model_validate(body)
                limit = scroll.limit or 10
                page, after = self.engine.scroll(name, limit=limit, offset=scroll.offset)
                points = [record.model_dump(exclude={"payload"}) for record in page]
                return {"points": points, "next_page_offset": after}
            case "POST /points/query":
                return self._query(name, models.QueryRequest.model_validate(body))
        raise ValueError(f"unexpected call {call}")

    def _query(self, name: str, asked: models.QueryRequest) -> Any:
        self.asked.append(asked)
        found = self.engine.query_points(
            name,
            query=getattr(asked.query, "nearest", asked.query),
            query_filter=asked.filter,
            limit=asked.limit or 10,
            with_payload=False,
        )
        return {"points": [point.model_dump() for point in found.points]}


def _ok(result: Any) -> Answer:
    return 200, {"result": result, "status": "ok", "time": 0.0}


@contextmanager
def qdrant_server() -> Iterator[int]:
    """Serve an empty Qdrant; yields the port."""
    with serving(Qdrant().handle) as port:
        yield port
