"""The scripted language model as on a small machine: slow, with few slots, now and then away.

It answers so many calls at a time, others wait; it stops working on a call whose client has gone,
as llama.cpp does; it says how many slots it has if it is to; it can load its model, or be down.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from tests.servers.scripted_lm import ScriptedLM, _Handler

_STEP = 0.005


@dataclass
class SlowLM(ScriptedLM):
    """The server.

    Attributes:
        slots: Calls that are worked on at a time.
        seconds: How long one takes.
        says_slots: Whether `/props` tells.
        loading: Whether it answers 503 until this is cleared.
        down: Whether it drops every connection until this is cleared.
        done: Calls that were answered.
        left: Calls whose client went away before.
        most: The most that waited or were worked on at a time.
    """

    slots: int = 1
    seconds: float = 0.0
    says_slots: bool = False
    loading: bool = False
    down: bool = False
    done: int = 0
    left: int = 0
    most: int = 0
    _free: threading.Semaphore = field(init=False)
    _here: int = 0

    def __post_init__(self) -> None:
        self._free = threading.Semaphore(self.slots)

    def handler(self) -> type[_Handler]:
        return _Slow

    def works(self, connection: socket.socket) -> bool:
        """Work on a call; False if nobody waits for it any more."""
        with self._lock:
            self._here += 1
            self.most = max(self.most, self._here)
        try:
            while not self._free.acquire(timeout=_STEP):
                if _is_gone(connection):
                    return self._gone()
            try:
                until = time.monotonic() + self.seconds
                while time.monotonic() < until:
                    if _is_gone(connection):
                        return self._gone()
                    self.wait(_STEP)
                self.done += 1
                return True
            finally:
                self._free.release()
        finally:
            with self._lock:
                self._here -= 1

    def _gone(self) -> bool:
        self.left += 1
        return False


def _is_gone(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class _Slow(_Handler):
    scripted: SlowLM

    def do_GET(self) -> None:  # noqa: N802
        if self.scripted.down:
            self.close_connection = True
        elif self.path == "/health" and self.scripted.loading:
            self._json(503, {"error": {"code": 503, "message": "Loading model"}})
        elif self.path == "/props" and self.scripted.says_slots:
            self._json(200, {"total_slots": self.scripted.slots})
        else:
            self._json(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:  # noqa: N802
        if self.scripted.down:
            self.close_connection = True
        elif self.scripted.loading:
            self.rfile.read(int(self.headers["Content-Length"]))
            error = {"code": 503, "message": "Loading model", "type": "unavailable_error"}
            self._json(503, {"error": error})
        elif self.scripted.works(self.connection):
            with suppress(BrokenPipeError, ConnectionResetError):
                super().do_POST()
        else:
            self.close_connection = True
