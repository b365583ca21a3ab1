"""A Chroma server, asked from event loops: one HTTP client for each loop that asks.

Chroma's `AsyncHttpClient` keeps its connections by class and by the loop's address: a later loop
at that address gets those of a dead one, and one server's key goes to another. So its parts are
put together here, for one collection and one loop at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.stores.base import StoreRow, StoreURL, closed_store, slices
from ragwright.retrievers.stores.chroma_calls import (
    FETCHED,
    cosines_by_id,
    query_arguments,
    rows_by_id,
    translate_chroma_errors,
)
from ragwright.retrievers.stores.chroma_internals import start_without_clients


class AwaitedChroma:
    """One collection of a Chroma server, for event loops.

    Args:
        place: Where it lies; named in errors.
        settings: Those of a client of the server.
        model: What Chroma knows of the collection; another once that was made anew.
    """

    def __init__(self, place: StoreURL, settings: Any, model: Any) -> None:
        from chromadb.api.async_fastapi import AsyncFastAPI
        from chromadb.config import System

        self._place = place
        self.model = model
        self._server: Callable[[], Any] = lambda: System(settings).instance(AsyncFastAPI)
        self._closed = False
        self._clients: dict[asyncio.AbstractEventLoop, _Client] = {}

    async def query(self, vector: Floats, n: int, where: Filter | None = None) -> dict[str, float]:
        async with self._collection() as collection:
            return cosines_by_id(await collection.query(**query_arguments(vector, n, where)))

    async def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        found: dict[str, StoreRow] = {}
        async with self._collection() as collection:
            for part in slices(len(ids)):
                found |= rows_by_id(await collection.get(ids=list(ids[part]), include=FETCHED))
        return found

    def close(self) -> None:
        """Let go of connections, in each loop as soon as nothing waits for an answer there."""
        self._closed = True
        self._forget_dead()
        for loop, client in list(self._clients.items()):
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(client.close(), loop)

    def _forget_dead(self) -> None:
        """Drop the clients of loops that were closed without closing their generators."""
        for loop in list(self._clients):
            if loop.is_closed():
                self._clients.pop(loop, None)

    @asynccontextmanager
    async def _collection(self) -> AsyncIterator[Any]:
        from chromadb.api.models.AsyncCollection import AsyncCollection

        loop = asyncio.get_running_loop()
        if self._closed:
            raise closed_store(self._place)
        with translate_chroma_errors(self._place):
            if loop not in self._clients:
                self._forget_dead()
                lifetime = self._lifetime(loop)
                self._clients[loop] = _Client(lifetime, await anext(lifetime))
            async with self._clients[loop].asked() as server:
                yield AsyncCollection(server, self.model, embedding_function=None)

    async def _lifetime(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Any, None]:
        """Yield the client once. A loop that ends closes its generators, and so the client."""
        server = self._server()
        start_without_clients(server)
        try:
            async with server:
                yield server
        finally:
            self._clients.pop(loop, None)


class _Client:
    """The client of one loop, and how many calls wait for it."""

    def __init__(self, lifetime: AsyncGenerator[Any, None], server: Any) -> None:
        self._lifetime = lifetime
        self._server = server
        self._waiting = 0
        self._idle = asyncio.Event()

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[Any]:
        self._waiting += 1
        self._idle.clear()
        try:
            yield self._server
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._idle.set()

    async def close(self) -> None:
        await self._idle.wait()
        await self._lifetime.aclose()
