"""What an index asks of a vector store. Knows no particular one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from retrievers.embedding import Floats
from retrievers.types import Metadata

Where = Mapping[str, Any]
"""A filter on metadata in Chroma's language, such as `{"year": {"$gte": 2020}}`."""


class VectorStore(Protocol):
    """One collection of vectors. Writes are durable and idempotent when they return."""

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Floats,
        texts: Sequence[str],
        metadata: Sequence[Metadata],
    ) -> None:
        """Add rows, or replace those whose id exists. `vectors` has shape (len(ids), d)."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows; ids that do not exist are no error."""
        ...

    def query(self, vector: Floats, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n ids with their cosine to `vector` (shape (d,)), best first."""
        ...

    def ids(self) -> set[str]:
        """Return every id in the collection."""
        ...

    def reload(self) -> None:
        """See what another process wrote."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
