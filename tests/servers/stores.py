"""Every kind of vector store, ready to be used: folders for some, servers for the others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.servers.chroma import chroma_server
from tests.servers.pinecone import pinecone_server
from tests.servers.qdrant import qdrant_server
from tests.servers.weaviate import weaviate_server

KINDS = ["chroma", "chroma+http", "qdrant", "qdrant+http", "weaviate+http", "pinecone"]
MEMORY = Path("/dev/shm")


@contextmanager
def located(kind: str, folder: Path, dimension: int) -> Iterator[str]:
    """Yield the URL of a store of a kind; what is put for its `{}` names a collection."""
    with ExitStack() as stack:
        yield _place(kind, folder, dimension, stack)


def _place(kind: str, folder: Path, dimension: int, stack: ExitStack) -> str:
    match kind:
        case "chroma+http":
            (folder / "server").mkdir()
            port, _ = stack.enter_context(chroma_server(folder / "server"))
            return f"chroma+http://127.0.0.1:{port}#test-{{}}"
        case "qdrant+http":
            return f"qdrant+http://127.0.0.1:{stack.enter_context(qdrant_server())}#test-{{}}"
        case "weaviate+http":
            rest, grpc = stack.enter_context(weaviate_server())
            return f"weaviate+http://127.0.0.1:{rest}?grpc={grpc}#Test{{}}"
        case "pinecone":
            port = stack.enter_context(pinecone_server(dimension))
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("PINECONE_API_KEY", "a-key")
            patch.setenv("PINECONE_CONTROLLER_HOST", f"http://127.0.0.1:{port}")
            return "pinecone:passages#test-{}"
        case "qdrant" if MEMORY.is_dir():
            # Embedded, it waits for the disk after every single row.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
    return f"{kind}:{folder}/{{}}"
