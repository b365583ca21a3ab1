"""Builds the ASGI app of a server from its settings."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ragwright.artifacts.server import about, openai, routes
from ragwright.artifacts.server.access import ApiKey, all_keys, plain_keys
from ragwright.artifacts.server.auth import Doorkeeper
from ragwright.artifacts.server.errors import add_handlers
from ragwright.artifacts.server.feedback import FeedbackStore
from ragwright.artifacts.server.metrics import Metrics
from ragwright.artifacts.server.middleware import Peer, RequestGuard
from ragwright.artifacts.server.service import Service
from ragwright.artifacts.server.settings import ServerSettings, check_address
from ragwright.artifacts.server.supervision import Supervisor
from ragwright.artifacts.server.swap import VersionSwap
from ragwright.artifacts.server.tracing import Tracer

SPARE_THREADS = 8
"""Threads beyond one per question: for looks at the index, the feedback file and new versions."""

LOADING_SECONDS = 30.0
"""That one of several workers waits at most for its artifact before it takes connections."""


def create_app(
    settings: ServerSettings, *, keys: tuple[str, ...] | tuple[ApiKey, ...] | None = None
) -> FastAPI:
    """Build the app; the artifact is loaded once the app has started.

    Args:
        settings: What the operator decided.
        keys: The API keys; by default those of the environment and of the server file. Given as
            text, a key may see all.

    Raises:
        InputError: It would listen beyond loopback without a key, or the server file is wrong.
    """
    known = all_keys(settings.key_file) if keys is None else _known(keys)
    check_address(settings, has_keys=bool(known))
    app = FastAPI(
        title="ragwright",
        summary="Answers questions from documents, with citations.",
        version=_release(),
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=routes.REFUSALS,
    )
    app.state.settings = settings
    app.state.doorkeeper = Doorkeeper(known, settings.rate, settings.proxies)
    app.state.metrics = Metrics()
    for router in (routes.router, openai.router, routes.probes, about.router, routes.page):
        app.include_router(router)
    if settings.mcp:
        from ragwright.artifacts.server.agents import mount_tools

        app.state.agents = mount_tools(app)
    add_handlers(app)
    app.add_middleware(
        RequestGuard, settings=settings, metrics=app.state.metrics, doorkeeper=app.state.doorkeeper
    )
    # The last one that is added sees a request first.
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    # Unasked, not even this machine is believed: whoever is limited would name another address.
    if trusted := list(settings.proxies) or os.environ.get("FORWARDED_ALLOW_IPS", ""):
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)
    app.add_middleware(Peer)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: ServerSettings = app.state.settings
    threads = ThreadPoolExecutor(settings.concurrency + SPARE_THREADS, thread_name_prefix="work")
    asyncio.get_running_loop().set_default_executor(threads)
    feedback = FeedbackStore(settings.feedback, create=True) if settings.feedback else None
    metrics = app.state.metrics
    tracer = Tracer(settings.trace, settings.tracking_uri, metrics) if settings.trace else None
    serving = VersionSwap(settings, metrics)
    trial = VersionSwap(_candidate(settings), metrics) if settings.candidate else None
    app.state.service = Service(
        settings, serving, metrics=metrics, feedback=feedback, tracer=tracer, trial=trial
    )
    background = Supervisor(metrics)
    app.state.background = background
    swaps = {"versions": serving} | ({"candidate": trial} if trial else {})
    for name, swap in swaps.items():
        background.start(name, swap.look)
    look_on_hangup(background, swaps)
    try:
        if settings.workers > 1:
            await _first_look(serving, background)
        async with _sessions(app):
            yield
    finally:
        await background.close()
        if tracer is not None:
            tracer.close()
        if feedback is not None:
            feedback.close()


def look_on_hangup(background: Supervisor, swaps: Mapping[str, VersionSwap]) -> None:
    """Look for newer versions at once when told by SIGHUP, which would end the process else."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or threading.current_thread() is not threading.main_thread():
        return

    def look() -> None:
        for name, swap in swaps.items():
            background.once(name, swap.refresh)

    with suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(hangup, look)


async def _first_look(serving: VersionSwap, background: Supervisor) -> None:
    """Wait until a version is loaded, or cannot be.

    A worker takes connections once this returns: one that replaces another would refuse questions
    until then, while its neighbours can answer them. A single one takes them at once, to say that
    it is starting.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(LOADING_SECONDS):
            while not (serving.ready or serving.problem or background.failing):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def _sessions(app: FastAPI) -> AsyncIterator[None]:
    """Keep the sessions of agents, where there are any."""
    if not app.state.settings.mcp:
        yield
        return
    async with app.state.agents.session_manager.run():
        yield


def _candidate(settings: ServerSettings) -> ServerSettings:
    """Return the settings by which the candidate is loaded."""
    return settings.model_copy(update={"artifact": settings.candidate})


def _known(keys: tuple[str, ...] | tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
    return tuple(key if isinstance(key, ApiKey) else plain_keys((key,))[0] for key in keys)


def _release() -> str:
    try:
        return version("ragwright")
    except PackageNotFoundError:
        return "0"
