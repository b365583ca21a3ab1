"""A proxy in front of a vector store on loopback: it counts, and can hold back, the searches."""

from __future__ import annotations

import asyncio
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from typing import Self

PATIENCE = 60.0
BAD_GATEWAY = (
    b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 11\r\n\r\nBad Gateway"
)


class Proxy:
    """Passes connections on to a port of this machine.

    Args:
        target: The port.
        tls: Speak TLS to clients, with this context.

    Attributes:
        port: Where it listens.
        searches: How many searches were asked so far.
        asked: The beginning of the last search.
        waiting: How many searches are held back.
        connections: How many connections are open.
        down: Whether searches are answered as a gateway does whose server is gone.
        overdue: How often a search was let go since nobody released it in time.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.searches = self.waiting = self.connections = self.overdue = 0
        self.down = False
        self.asked = b""
        self._target = target
        self._tls = tls
        self._together = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def hold(self, together: int) -> None:
        """Hold searches back until so many wait; then let them, and all later ones, go."""
        self._together = together
        self._loop.call_soon_threadsafe(self._go.clear)

    def release(self) -> None:
        """Let the searches go."""
        self._loop.call_soon_threadsafe(self._go.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, self._go = asyncio.Event(), asyncio.Event()
        self._go.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._target)
        back = asyncio.create_task(self._pass_on(there_reader, writer))
        try:
            while data := await reader.read(65536):
                if b"/query HTTP" in data.partition(b"\r\n")[0]:
                    self.asked = data
                    await self._hold_back()
                    if self.down:
                        writer.write(BAD_GATEWAY)
                        break
                there.write(data)
        finally:
            self.connections -= 1
            back.cancel()
            there.close()
            writer.close()

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def _hold_back(self) -> None:
        self.searches += 1
        self.waiting += 1
        if self.waiting >= self._together:
            self._go.set()
        try:
            await asyncio.wait_for(self._go.wait(), PATIENCE)
        except TimeoutError:
            self.overdue += 1
            self._go.set()
        self.waiting -= 1
