"""Settings in, a running server out, until it is told to stop.

SIGTERM and Ctrl-C stop taking connections and let open answers finish.
"""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

import dspy
import uvicorn
from fastapi import FastAPI

from ragwright.artifacts.addresses import fetched
from ragwright.artifacts.binding import locate_index
from ragwright.artifacts.integrity import read_manifest
from ragwright.artifacts.server.access import all_keys
from ragwright.artifacts.server.app import create_app
from ragwright.artifacts.server.logs import configure_logging
from ragwright.artifacts.server.metrics import MULTIPROCESS
from ragwright.artifacts.server.patience import PatientProtocol
from ragwright.artifacts.server.settings import (
    LARGEST_HEAD,
    ServerSettings,
    check_address,
)
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.stamp import Stamp

PASSED = "RAGWRIGHT_SERVER_SETTINGS"
"""How workers, which are processes of their own, get their settings."""
BACKLOG = 512
KEPT_REPLIES = 500
"""Replies of language models that are kept in memory, besides whole answers."""
KEEP_ALIVE = 75
"""Seconds an idle connection stays: longer than proxies keep theirs, so that they close it."""


def serve(settings: ServerSettings, *, level: str = "info") -> None:
    """Serve until told to stop.

    Raises:
        InputError: It would listen beyond loopback without a key, or several workers would share
            an index that is embedded in one process.
    """
    check_address(settings, has_keys=bool(all_keys(settings.key_file)))
    check_workers(settings)
    os.environ[PASSED] = settings.model_dump_json()
    with TemporaryDirectory() as shared:
        if settings.workers > 1:
            os.environ.setdefault(MULTIPROCESS, shared)
        _run(settings, level)


def _run(settings: ServerSettings, level: str) -> None:
    uvicorn.run(
        "ragwright.artifacts.server.run:worker",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=PatientProtocol,  # h11 bounds the size of headers, which httptools does not
        h11_max_incomplete_event_size=LARGEST_HEAD,
        ws="none",
        log_config=None,
        log_level=level,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=settings.drain,
    )


def worker() -> FastAPI:
    """Build the app of one worker."""
    configure_logging()
    # DSPy keeps a million replies by default, and writes each to disk: a server that is asked new
    # questions all day would grow by the day. Whole answers have a cache of their own.
    dspy.configure_cache(enable_disk_cache=False, memory_max_entries=KEPT_REPLIES)
    return create_app(ServerSettings.model_validate_json(os.environ[PASSED]))


def check_workers(settings: ServerSettings) -> None:
    """Make sure that several processes can share the index.

    Raises:
        InputError: There are several workers and the vectors are embedded in a process.
        ArtifactError, IndexFault: Artifact or index are not there.
    """
    if settings.workers == 1:
        return
    with fetched(settings.artifact) as folder:
        for binding in read_manifest(folder).bindings:
            place = locate_index(binding, folder=folder, override=settings.index)
            store = Stamp.read(place).store(place)
            if not store.remote and store.kind != "pinecone":
                raise InputError(
                    f"{settings.workers} workers cannot share the vector store {str(store)!r}, "
                    "which is embedded in a process.",
                    hint="Serve with --workers 1, or keep the vectors in a server "
                    "(docs/production.md).",
                )
