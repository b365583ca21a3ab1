"""What a Chroma collection is asked and what its answers say, whichever client asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.filters import LISTED, WITHIN, Condition, Filter, Junction
from ragwright.retrievers.metadata import as_list_item
from ragwright.retrievers.panics import RustPanic, translate_panics
from ragwright.retrievers.stores.base import (
    StoreRow,
    StoreURL,
    damaged_store,
    deleted_collection,
    translate_client_errors,
)
from ragwright.retrievers.types import Scalar

FETCHED = ["embeddings", "documents", "metadatas"]
_DAMAGE = (
    "hnsw segment",
    "Error finding id",
    "Error getting embedding",
    "not a database",
    "disk image is malformed",
)
"""What Chroma says when the files of its graph are torn, when they lack a vector, and when its
SQLite file is damaged."""


def query_arguments(vector: Floats, n: int, where: Filter | None) -> dict[str, Any]:
    """Return the arguments of `query` for one vector, shape (d,).

    Raises:
        InputError: Chroma does not take the filter: it keeps some keys for itself.
    """
    return {
        "query_embeddings": np.asarray([vector]),
        "n_results": n,
        "where": _accepted(_translated(where)) if where else None,
        "include": ["distances"],
    }


def cosines_by_id(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the ids of a `query` for one vector, with their cosines."""
    pairs = zip(found["ids"][0], found["distances"][0], strict=True)
    return {id: 1 - float(distance) for id, distance in pairs}


def rows_by_id(page: Mapping[str, Any]) -> dict[str, StoreRow]:
    """Return the rows of a `get` that includes what is `FETCHED`."""
    columns = (page["ids"], page["embeddings"], page["documents"], page["metadatas"])
    return {
        id: StoreRow(np.asarray(vector, dtype=np.float32), text or "", dict(metadata or {}))
        for id, vector, text, metadata in zip(*columns, strict=True)
    }


@contextmanager
def translate_chroma_errors(place: StoreURL) -> Iterator[None]:
    """Turn what Chroma's clients raise into an `IndexFault` that names the store.

    Raises:
        DamagedStore: Chroma cannot read its graph, or a vector in it.
    """
    import httpx
    from chromadb.errors import ChromaError, InternalError, NotFoundError

    # A server that is not there is a ValueError, a full disk one of the others.
    with translate_client_errors(place, ChromaError, httpx.HTTPError, ValueError, OSError):
        try:
            with translate_panics():
                yield
        except RustPanic as error:
            raise damaged_store(place, str(error)) from error
        except NotFoundError as error:
            raise deleted_collection(place) from error
        except InternalError as error:
            if any(words in str(error) for words in _DAMAGE):
                raise damaged_store(place, str(error)) from error
            raise
        except Exception as error:
            # A plain one stands for an answer that is not Chroma's own, as a gateway's 502.
            if type(error) is Exception:
                raise InternalError(str(error)) from error
            raise


def _accepted(where: dict[str, Any]) -> dict[str, Any]:
    """Let Chroma look at a filter first: later, its words are those for a server that is gone."""
    from chromadb.api.types import validate_where

    try:
        validate_where(where)
    except ValueError as error:
        raise InputError(f"Chroma does not take the filter: {error}") from error
    return where


def _translated(where: Filter) -> dict[str, Any]:
    if isinstance(where, Junction):
        return {where.operator: [_translated(part) for part in where.parts]}
    if where.operator in WITHIN:
        return {where.key: {where.operator: as_list_item(where.value)}}
    if any(map(_fraction, where.values)):
        return _of_fractions(where)
    if where.operator not in LISTED:
        return {where.key: {where.operator: where.value}}
    values = list(where.values)
    if {type(value) for value in values} == {int, float}:
        values = [float(value) for value in values]
    return {where.key: {where.operator: values}}


def _fraction(value: Scalar) -> bool:
    return isinstance(value, float) and not value.is_integer()


def _of_fractions(where: Condition) -> dict[str, Any]:
    """Translate a condition on decimal numbers, whose fraction Chroma drops for whole metadata."""
    if where.operator not in LISTED:
        return _of_fraction(where.key, where.operator, where.value)
    joined, single = ("$or", "$eq") if where.operator == "$in" else ("$and", "$ne")
    parts = [
        _of_fraction(where.key, single, value) if _fraction(value) else {where.key: {single: value}}
        for value in where.values
    ]
    return parts[0] if len(parts) == 1 else {joined: parts}


def _of_fraction(key: str, operator: str, value: Any) -> dict[str, Any]:
    """Take back what equals the whole part, or add it: `{"n": 1.5}` would find 1."""
    asked, whole = {key: {operator: value}}, int(value)
    beyond = {key: {"$gt" if value > 0 else "$lt": whole}}
    if operator in {"$eq", "$gte" if value > 0 else "$lte"}:
        return {"$and": [asked, beyond]}
    if operator in {"$ne", "$lt" if value > 0 else "$gt"}:
        return {"$or": [asked, {key: {"$eq": whole}}]}
    return asked
