"""Everything of Chroma's that Chroma does not promise to keep, in one place.

Chroma keeps one started system per folder for the whole process and has no public way to forget
one whose files were replaced, nor to close the connections of a client. `tests/test_internals.py`
fails by name when one of these moves.
"""

from __future__ import annotations

from typing import Any


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
