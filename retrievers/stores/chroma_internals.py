"""Everything of Chroma's that Chroma does not promise to keep, in one place.

Chroma keeps one started system per folder for the whole process and has no public way to forget
one whose files were replaced, nor to close the connections of a client. `tests/test_internals.py`
fails by name when one of these moves.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID


def forget_system(address: str) -> None:
    """Stop what runs for a folder, so that the next client starts anew."""
    from chromadb.api.shared_system_client import SharedSystemClient as Shared

    with Shared._refcount_lock:
        Shared._identifier_to_refcount.pop(address, None)
        system = Shared._identifier_to_system.pop(address, None)
    if system is not None:
        system.stop()


def forget_failed_system(address: str) -> None:
    """Forget what failed to start: Chroma would take it for something that runs, the next time."""
    from chromadb.api.shared_system_client import SharedSystemClient

    SharedSystemClient._identifier_to_system.pop(address, None)


def close_connections(client: Any) -> None:
    """Close the connections that an HTTP client leaves open when it is closed."""
    for part in (client, client._admin_client):
        part._server._session.close()


def model_of(collection: Any) -> Any:
    """Return a collection's description, with which it can be opened without asking again."""
    return collection._model


def start_without_clients(server: Any) -> None:
    """Give an awaited server connections of its own: its class shares one table of them."""
    server._clients = {}


def last_write(file: Path, collection: UUID) -> int:
    """Return the number of the last write to a collection of a folder; 0 if it does not say.

    Raises:
        sqlite3.DatabaseError: The file is not Chroma's, or its tables are others.
    """
    query = (
        "SELECT max(seq_id) FROM embeddings WHERE segment_id IN "
        "(SELECT id FROM segments WHERE collection = ? AND scope = 'METADATA')"
    )
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
        return int(database.execute(query, (str(collection),)).fetchone()[0] or 0)


def client_settings(collection: Any) -> Any:
    """Return the settings of the client that a collection was taken from."""
    return collection._client.get_settings()
