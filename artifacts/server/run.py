"""Runs a server until it is told to stop.

SIGTERM and Ctrl-C stop taking connections and let open answers finish. Several workers are
processes under uvicorn's supervisor, which listens once for all of them: it replaces one that dies,
and on SIGHUP all of them, one after the other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from tempfile import TemporaryDirectory

import dspy
import uvicorn
from fastapi import FastAPI

from ragwright.artifacts.addresses import fetch_version
from ragwright.artifacts.binding import locate_index
from ragwright.artifacts.integrity import read_manifest
from ragwright.artifacts.server.access import all_keys
from ragwright.artifacts.server.app import create_app
from ragwright.artifacts.server.feedback import FeedbackStore
from ragwright.artifacts.server.logs import configure_logging
from ragwright.artifacts.server.metrics import MULTIPROCESS
from ragwright.artifacts.server.patience import PatientProtocol
from ragwright.artifacts.server.settings import (
    LARGEST_HEAD,
    ServerSettings,
    check_address,
)
from ragwright.retrievers.argument_checks import check_type
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.stamp import Stamp
from ragwright.retrievers.stores.base import StoreURL

PASSED = "RAGWRIGHT_SERVER_SETTINGS"
"""How workers, which are processes of their own, get their settings."""
BACKLOG = 512
KEPT_REPLIES = 500
"""Replies of language models that are kept in memory, besides whole answers."""
KEEP_ALIVE = 75
"""Seconds an idle connection stays: longer than proxies keep theirs, so that they close it."""

WORKER_SECONDS = 60
"""In which a worker must have started and answer its supervisor: imports alone take seconds on a
busy machine, and one that is killed for that starts over for ever."""


def serve(settings: ServerSettings) -> None:
    """Serve until told to stop.

    Raises:
        InputError: It would listen beyond loopback without a key, several workers would share a
            store that lets one process in, something else listens there, or answers cannot be kept.
    """
    check_type("settings", settings, ServerSettings)
    check_address(settings, has_keys=bool(all_keys(settings.key_file)))
    check_port(settings.host, settings.port)
    check_workers(settings)
    if settings.feedback:  # workers open it too late to say in a line what is wrong with it
        FeedbackStore(settings.feedback, create=True).close()
    # A supervisor says where it listens and what became of workers.
    configure_logging(settings.log_level)
    os.environ[PASSED] = settings.model_dump_json()
    with TemporaryDirectory() as shared:
        if settings.workers > 1:
            os.environ.setdefault(MULTIPROCESS, shared)
        _run(settings)


def check_port(host: str, port: int) -> None:
    """Make sure that the port is free, before anything is loaded.

    Raises:
        InputError: Something else listens there, or this machine has no such address.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(place)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"The server cannot listen on {host}, port {port}: {reason}.",
            hint="Give another --port; 0 takes a free one.",
        ) from error


def _run(settings: ServerSettings) -> None:
    uvicorn.run(
        "ragwright.artifacts.server.run:create_worker_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=PatientProtocol,  # h11 bounds the size of headers, which httptools does not
        h11_max_incomplete_event_size=LARGEST_HEAD,
        ws="none",
        log_config=None,
        log_level=settings.log_level,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the app heeds them, once it has noted who really connected
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=settings.drain,
        timeout_worker_healthcheck=WORKER_SECONDS,
    )


def create_worker_app() -> FastAPI:
    """Build the app of one worker."""
    settings = ServerSettings.model_validate_json(os.environ[PASSED])
    configure_logging(settings.log_level)
    _end_with_supervisor()
    # DSPy keeps a million replies by default, and writes each to disk: a server that is asked new
    # questions all day would grow by the day. Whole answers have a cache of their own.
    dspy.configure_cache(enable_disk_cache=False, memory_max_entries=KEPT_REPLIES)
    return create_app(settings)


def _end_with_supervisor() -> None:
    """End as after SIGTERM once the supervisor is gone, however it went: it cannot tell if killed.

    A worker that outlived it would hold the port, and answer for ever from what nobody restarts.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:  # one worker alone runs in the process that was started
        return

    def watch() -> None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor", daemon=True).start()


def check_workers(settings: ServerSettings) -> None:
    """Make sure that several processes can read the index.

    A server can, and Chroma's folder can too: workers only read, and each opens it anew once the
    index has another generation. Embedded Qdrant lets in one process; of a store of somebody's own
    nothing is known.

    Raises:
        InputError: There are several workers and the store lets in one process.
        ArtifactError, IndexFault: Artifact or index are not there.
    """
    if settings.workers == 1:
        return
    for artifact in filter(None, (settings.artifact, settings.candidate)):
        with fetch_version(artifact) as folder:
            for binding in read_manifest(folder).bindings:
                place = locate_index(binding, folder=folder, override=settings.index)
                _check_shared(Stamp.read(place).store(place), settings.workers)


def _check_shared(store: StoreURL, workers: int) -> None:
    if store.remote or store.kind in {"chroma", "pinecone"}:
        return
    raise InputError(
        f"{workers} workers cannot share the vector store {str(store)!r}, "
        "which lets one process in.",
        hint="Serve with --workers 1, or keep the vectors in Chroma or in a server "
        "(docs/production.md).",
    )
