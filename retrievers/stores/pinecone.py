"""Pinecone: a serverless index, with the collection as its namespace.

Pinecone shows a write to readers after a moment, not at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.filters import LISTED, WITHIN, Filter, Junction, value_kind
from ragwright.retrievers.stores.base import (
    StoreRow,
    StoreURL,
    missing_client,
    missing_collection,
    slices,
    translate_client_errors,
)
from ragwright.retrievers.types import Metadata, Scalar

_TEXT, _FACTS = "_text", "_facts"
_ROWS_PER_CALL = 100
"""Pinecone takes 2 MB a request, and the ids of a fetch in a URL."""
_STAMP = "stamp"


class PineconeStore:
    """One namespace of a Pinecone index, and a second, `...-stamp`, that holds its note.

    Metadata are Pinecone's own, to filter on; beside them lie the text and a JSON copy, because
    Pinecone keeps every number as a float. The index must exist: its cloud and its price are the
    user's choice.

    Args:
        place: The name of the index; the key comes from `PINECONE_API_KEY`.
        dimension: Length of a vector; None to take what the index has.
        create: Whether the namespace may be missing.

    Raises:
        IndexFault: The index or the namespace is missing, cannot be reached, has another
            dimension, or `pinecone` is not installed.
    """

    awaited = None

    def __init__(self, place: StoreURL, *, dimension: int | None, create: bool = False) -> None:
        try:
            from pinecone import Pinecone
        except ImportError as error:
            raise missing_client("pinecone", "pinecone") from error
        if not os.environ.get("PINECONE_API_KEY"):
            raise IndexFault(
                "PINECONE_API_KEY is not set.", hint="Put the key of your project into it."
            )
        self._place = place
        self._dimension = dimension or 0
        self._space = place.collection
        with self._faults(), Pinecone() as control:
            self._index = control.index(place.address)
        try:
            self._check(create=create)
        except IndexFault:
            self.close()
            raise

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Floats,
        texts: Sequence[str],
        metadata: Sequence[Metadata],
    ) -> None:
        rows = [
            {
                "id": id,
                "values": vector.tolist(),
                "metadata": {**_filterable(facts), _TEXT: text, _FACTS: json.dumps(dict(facts))},
            }
            for id, vector, text, facts in zip(ids, vectors, texts, metadata, strict=True)
        ]
        with self._faults():
            for part in slices(len(rows), _ROWS_PER_CALL):
                self._index.upsert(vectors=rows[part], namespace=self._space)

    def delete(self, ids: Sequence[str]) -> None:
        from pinecone import NotFoundError

        with self._faults():
            for part in slices(len(ids)):
                try:
                    self._index.delete(ids=list(ids[part]), namespace=self._space)
                except NotFoundError:
                    return  # The namespace itself is not there yet.

    def query(self, vector: Floats, n: int, where: Filter | None = None) -> dict[str, float]:
        with self._faults():
            found = self._index.query(
                vector=vector.tolist(),
                top_k=n,
                namespace=self._space,
                filter=_translated(where) if where else None,
            )
        return {match.id: float(match.score) for match in found.matches}

    def ids(self) -> Iterator[str]:
        with self._faults():
            for page in self._index.list(namespace=self._space, limit=_ROWS_PER_CALL):
                yield from (item.id for item in page.vectors)

    def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        rows: dict[str, StoreRow] = {}
        with self._faults():
            for part in slices(len(ids), _ROWS_PER_CALL):
                found = self._index.fetch(ids=list(ids[part]), namespace=self._space)
                for id, item in found.vectors.items():
                    vector = np.asarray(item.values, dtype=np.float32)
                    facts = json.loads(item.metadata[_FACTS])
                    rows[id] = StoreRow(vector, item.metadata[_TEXT], facts)
        return rows

    def stamp(self) -> str:
        with self._faults():
            found = self._index.fetch(ids=[_STAMP], namespace=self._stamp_space)
        item = found.vectors.get(_STAMP)
        return str(item.metadata[_TEXT]) if item else ""

    def set_stamp(self, text: str) -> None:
        vector = [1.0, *[0.0] * (self._dimension - 1)]
        row = {"id": _STAMP, "values": vector, "metadata": {_TEXT: text}}
        with self._faults():
            self._index.upsert(vectors=[row], namespace=self._stamp_space)

    def reload(self) -> None:
        """The service shows every write by itself."""

    def mend(self, *, broken: bool = False) -> None:
        """The service looks after its own files."""

    def close(self) -> None:
        self._index.close()

    @property
    def _stamp_space(self) -> str:
        return f"{self._space}-stamp"

    def _check(self, *, create: bool) -> None:
        with self._faults():
            found = self._index.describe_index_stats().dimension
        self._dimension = self._dimension or found or 0
        if found != self._dimension:
            raise IndexFault(
                f"The Pinecone index {self._place.address!r} has dimension {found}, not "
                f"{self._dimension}.",
                hint=f"Make one with dimension {self._dimension} and the metric cosine.",
            )
        if not create and not self.stamp():
            raise missing_collection(self._place)

    def _faults(self) -> AbstractContextManager[None]:
        from pinecone import PineconeError

        return translate_client_errors(self._place, PineconeError, OSError)


def _filterable(facts: Metadata) -> dict[str, Any]:
    """Return metadata to filter on: of lists, Pinecone takes those of text alone.

    They have keys of their own, since Pinecone takes a list for each of its values.
    """
    found: dict[str, Any] = {}
    for key, value in facts.items():
        if isinstance(value, str | int | float):
            found[key] = value
        else:
            found[_list_key(key)] = [_word(one) for one in value]
    return found


def _list_key(key: str) -> str:
    return f"{key}:list"


def _word(value: Scalar) -> str:
    """Write a value of a list as a word that says its kind."""
    kind = value_kind(value)
    return f"{kind}:{float(value) if kind == 'number' else value}"


def _translated(where: Filter) -> dict[str, Any]:
    if isinstance(where, Junction):
        return {where.operator: [_translated(part) for part in where.parts]}
    if where.operator in WITHIN:
        operator = "$in" if where.operator == "$contains" else "$nin"
        return _or_missing(_list_key(where.key), {operator: [_word(where.value)]})
    wanted: Any = list(where.values) if where.operator in LISTED else where.value
    if where.kind == "boolean" and where.operator in LISTED:
        # Lists hold text and numbers only.
        joined, single = ("$or", "$eq") if where.operator == "$in" else ("$and", "$ne")
        parts = [_or_missing(where.key, {single: value}) for value in where.values]
        return parts[0] if len(parts) == 1 else {joined: parts}
    return _or_missing(where.key, {where.operator: wanted})


def _or_missing(key: str, comparison: dict[str, Any]) -> dict[str, Any]:
    """A negation holds for what lacks the key too."""
    if not comparison.keys() & {"$ne", "$nin"}:
        return {key: comparison}
    return {"$or": [{key: comparison}, {key: {"$exists": False}}]}
