"""What Chroma does not do about a collection whose files are damaged: make sure, and clear away.

Comes in: an open client, and a collection. Knows the tables of an embedded Chroma, and no index.
"""

from __future__ import annotations

import shutil
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.stores.base import StoreURL, translate_client_errors

_NAMES = "index_metadata.pickle"
"""Written when a graph is saved; Chroma alone reads it."""


def try_writing(client: Any, place: StoreURL) -> None:
    """Write a row to a new collection and read it.

    Where that fails too, not one collection's files are damaged, but the disk is full, say, or too
    many files are open: Chroma's words for those are the same.
    """
    trial = client.create_collection(
        f"{place.collection}-{uuid.uuid4().hex}", embedding_function=None
    )
    try:
        trial.upsert(ids=["one"], embeddings=[[1.0]])
        trial.get(limit=1, include=["embeddings"])
    finally:
        drop_collection(client, place, trial)


def drop_collection(client: Any, place: StoreURL, collection: Any) -> None:
    """Delete a collection and, embedded, the folder of its graph, which Chroma leaves behind."""
    graphs = [] if place.remote else _graphs(place, str(collection.id))
    client.delete_collection(collection.name)
    for folder in graphs:
        # Another process may still read it, where such files cannot be deleted.
        shutil.rmtree(folder, ignore_errors=True)


def graph_files(place: StoreURL) -> list[Path]:
    """Return the files of the graph of an embedded collection; none where they cannot be told.

    A graph that Chroma has not saved yet is begun anew by whoever opens it, a reader too.
    """
    query = (
        "SELECT segments.id FROM segments JOIN collections ON collections.id = collection "
        "WHERE collections.name = ? AND scope = 'VECTOR'"
    )
    try:
        folders = _folders(place, query, place.collection)
    except IndexFault:
        return []
    saved = [folder for folder in folders if (folder / _NAMES).is_file()]
    return sorted(file for folder in saved for file in folder.glob("*") if file.is_file())


def _graphs(place: StoreURL, collection: str) -> list[Path]:
    query = "SELECT id FROM segments WHERE collection = ? AND scope = 'VECTOR'"
    return _folders(place, query, collection)


def _folders(place: StoreURL, query: str, value: str) -> list[Path]:
    folder = Path(place.address)
    file = (folder / "chroma.sqlite3").as_uri()
    with (
        translate_client_errors(place, sqlite3.Error),
        closing(sqlite3.connect(f"{file}?mode=ro", uri=True)) as tables,
    ):
        return [folder / id for (id,) in tables.execute(query, (value,))]
