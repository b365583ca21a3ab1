"""HTTP connections that must say what they want within a time, and take what they asked for.

uvicorn bounds how long an idle connection stays after an answer, and not how long a request's head
may take, nor how long an answer may wait to be read: either would keep a connection for ever. Nor
does it bound how many there are: those that say nothing would take every file that the process may
open, and the index, the feedback and the page could not be read for those that ask.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0
"""From a connection's first moment, or a later request's first byte, to the end of its head."""
STALL_SECONDS = 60.0
"""That an answer beyond what the system's buffers hold may wait for its reader."""


KEPT_FILES = 128
"""Files that a process may open and connections leave alone, or most of them if there are fewer."""
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def most_connections() -> float:
    """Return how many connections leave enough files to work with (`ulimit -n`)."""
    with suppress(ImportError):  # not everywhere: elsewhere, connections are no files
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files != resource.RLIM_INFINITY:
            return files - min(KEPT_FILES, 3 * files // 4)
    return float("inf")


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 that ends a connection that sends no whole head, or reads no answer."""

    head_seconds = HEAD_SECONDS
    stall_seconds = STALL_SECONDS
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            transport.write(_FULL)
            transport.close()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._head_timer is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._read_on()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        # Closing would wait for the reader, too.
        self._stall_timer = self.loop.call_later(self.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._read_on()
        super().resume_writing()

    def _read_on(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _stop(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        busy = self.cycle is not None and not self.cycle.response_complete
        if not busy and not self.transport.is_closing():
            self.transport.close()
