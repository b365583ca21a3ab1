"""A Qdrant collection of somebody else's, read as the rows of an index and never written.

LangChain writes a text as `page_content` beside `metadata`, LlamaIndex a flat payload with the node
as JSON, qdrant-client's own `add` the text as `document`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.stores.base import (
    StoreRow,
    StoreURL,
    missing_client,
    slices,
)
from ragwright.retrievers.stores.qdrant import open_client, translate_qdrant_errors

_TEXTS = ("page_content", "text", "content", "document")
_DENSE = ("", "text-dense", "dense")
"""What the libraries call the vectors of texts; "" where there is one kind alone."""
_SPACES = {"Cosine": "cosine", "Dot": "ip", "Euclid": "l2"}
_PAGE = 1000


class OwnedQdrant:
    """One collection, for reading.

    Args:
        place: A folder or the URL of a server; its key comes from `QDRANT_API_KEY`.

    Attributes:
        space: What distance it measures: "cosine", "l2" or "ip".

    Raises:
        IndexFault: It is not there or cannot be reached, or `qdrant-client` is not installed.
        InputError: Its vectors cannot be searched by a text: several kinds, or another distance.
    """

    embedding_function: Mapping[str, Any] = {}
    """Qdrant keeps no word of what embedded the texts."""

    def __init__(self, place: StoreURL) -> None:
        if not place.remote and not (Path(place.address) / "meta.json").is_file():
            raise IndexFault(
                f"There is no Qdrant in the folder {place.address!r}.",
                hint="Give the folder that its meta.json lies in.",
            )
        self._place, self._name = place, place.collection
        try:
            self._client, self._release = open_client(place)
        except ImportError as error:
            raise missing_client("qdrant-client", "qdrant") from error
        try:
            self._using, self.space = self._described()
        except (IndexFault, InputError):
            self._release()
            raise

    def revision(self) -> str:
        """Return what changes when rows are written: their number, and in a folder the last write.

        A server does not say when a point was last changed.
        """
        with translate_qdrant_errors(self._place):
            count = self._client.count(self._name, exact=True).count
            if self._place.remote:
                return str(count)
            kept = Path(self._place.address) / "collection" / self._name / "storage.sqlite"
            return f"{count}:{kept.stat().st_mtime_ns}"

    def ids(self) -> Iterator[str]:
        """Yield the owner's id of every point: a number or a UUID, as text."""
        offset = None
        while True:
            with translate_qdrant_errors(self._place):
                points, offset = self._client.scroll(
                    self._name, limit=_PAGE, offset=offset, with_payload=False
                )
            yield from (str(point.id) for point in points)
            if offset is None:
                return

    def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        """Return the points of those ids that exist and have a vector."""
        rows: dict[str, StoreRow] = {}
        for part in slices(len(ids)):
            with translate_qdrant_errors(self._place):
                points = self._client.retrieve(
                    self._name,
                    [_point(id) for id in ids[part]],
                    with_vectors=[self._using] if self._using else True,
                )
            for point in points:
                vector = point.vector.get(self._using) if self._using else point.vector
                if vector is not None:
                    text, metadata = _read(point.payload or {})
                    rows[str(point.id)] = StoreRow(np.asarray(vector, np.float32), text, metadata)
        return rows

    def query(self, vector: Floats, n: int) -> dict[str, float]:
        """Return up to n ids, nearest first: cosines, products, or 1 less the squared distance."""
        with translate_qdrant_errors(self._place):
            found = self._client.query_points(
                self._name,
                query=vector.tolist(),
                using=self._using or None,
                limit=n,
                with_payload=False,
            )
        scores = {str(point.id): float(point.score) for point in found.points}
        if self.space != "l2":
            return scores
        return {id: 1 - distance**2 for id, distance in scores.items()}

    def reload(self) -> None:
        """A server shows every write at once, and an embedded store has this process alone."""

    def close(self) -> None:
        """Let go of the client."""
        self._release()

    def _described(self) -> tuple[str, str]:
        """Return the name of its text vectors, "" for the only kind, and their distance."""
        with translate_qdrant_errors(self._place):
            # A key may be for this collection alone, so the others are listed in an error only.
            if not self._client.collection_exists(self._name):
                names = sorted(one.name for one in self._client.get_collections().collections)
                raise IndexFault(
                    f"There is no collection {self._name!r} in {self._place.address!r}; there "
                    f"{'is' if len(names) == 1 else 'are'} "
                    f"{', '.join(map(repr, names)) or 'none'}.",
                    hint="Name one with #NAME behind the URL.",
                )
            vectors = self._client.get_collection(self._name).config.params.vectors
        kinds = vectors if isinstance(vectors, dict) else {"": vectors}
        known = [name for name in kinds if len(kinds) == 1 or name in _DENSE]
        if len(known) != 1 or kinds[known[0]] is None:
            raise InputError(
                f"The collection {self._name!r} has vectors called "
                f"{', '.join(map(repr, kinds))}: which are of its texts is not clear.",
                hint="Attach one that has a single kind, or one called 'dense'.",
            )
        distance = str(kinds[known[0]].distance.value)
        if distance not in _SPACES:
            raise InputError(
                f"The collection {self._name!r} measures the distance {distance!r}.",
                hint=f"Known are {', '.join(_SPACES)}.",
            )
        return known[0], _SPACES[distance]


def _read(payload: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a point's text, "" where a node holds it, and its metadata, flat."""
    facts = dict(payload)
    inner = facts.pop("metadata", None)
    if isinstance(inner, Mapping):
        facts |= inner
    elif inner is not None:
        facts["metadata"] = inner
    for key in _TEXTS:
        value = facts.get(key)
        # A short `document` beside a node or a text names where it is from.
        if isinstance(value, str) and value.strip():
            if key == "document" and "_node_content" in facts:
                return "", facts
            return value, {name: one for name, one in facts.items() if name != key}
    return "", facts


def _point(id: str) -> int | str:
    return int(id) if id.isdecimal() else id
