"""An OpenAI-compatible `/v1/embeddings` on loopback, answered by the hash embedder.

Every request is kept. `faults` are served first, one to a request: a status, or a wrong answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from ragwright.retrievers.embedding import HashEmbedder
from tests.servers.rest import Answer, Query, serving

Fault = Literal[401, 400, 429, 500, "one too few", "wrong length"] | list[Any] | None
"""A status, a wrong answer, or what stands in the place of the vectors."""


@dataclass
class Embeddings:
    """What was asked, and what goes wrong next."""

    address: str = ""
    asked: list[list[str]] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)

    def handle(self, method: str, path: str, query: Query, body: Any) -> Answer:
        if (method, path) != ("POST", "/v1/embeddings"):
            return 404, {"error": {"message": path}}
        texts = body["input"]
        self.asked.append(texts)
        self.types.append(body.get("input_type", ""))
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, int):
            return fault, {"error": {"message": f"secret-key: {fault}", "type": "test"}}
        rows = [
            # Not of length 1, and not in order: the protocol promises neither.
            {"object": "embedding", "index": at, "embedding": (3 * vector).tolist()}
            for at, vector in enumerate(HashEmbedder().encode(texts).vectors)
        ][::-1]
        if fault == "one too few":
            rows.pop()
        if fault == "wrong length":
            rows = [{**row, "embedding": [1.0]} for row in rows]
        if isinstance(fault, list):
            rows = fault
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return 200, {"object": "list", "model": body["model"], "data": rows, "usage": usage}


@contextmanager
def embeddings_server() -> Iterator[Embeddings]:
    server = Embeddings()
    with serving(server.handle) as port:
        server.address = f"http://127.0.0.1:{port}/v1"
        yield server
