"""An embedder's server on loopback that takes its time: every request waits a fifth of a second."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ragwright.retrievers.embedding import HashEmbedder

SECONDS = 0.2


@dataclass
class SlowVectors:
    """What was asked of the server, and whom it kills.

    Attributes:
        spans: When each request came and was answered.
        pids: Who asked, one for each request that came.
        kill_after: The process that asks next after so many requests is killed; once.
    """

    address: str = ""
    spans: list[tuple[float, float]] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    kill_after: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def arrived(self, pid: int) -> None:
        with self.lock:
            self.pids.append(pid)
            due = self.kill_after is not None and len(self.pids) > self.kill_after
            if due:
                self.kill_after = None
        if due:
            os.kill(pid, signal.SIGKILL)

    @property
    def most(self) -> int:
        """How many requests there were at a time, at most."""
        return max(sum(a <= start < b for a, b in self.spans) for start, _ in self.spans)

    @property
    def gain(self) -> float:
        """How many times as fast as one after the other the requests were answered."""
        first, last = min(start for start, _ in self.spans), max(end for _, end in self.spans)
        return len(self.spans) * SECONDS / (last - first)


@contextmanager
def slow_vectors() -> Iterator[SlowVectors]:
    """Serve until the block ends."""
    served = SlowVectors()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            start = time.monotonic()
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.arrived(asked["pid"])
            time.sleep(SECONDS)
            rows = HashEmbedder().encode(asked["texts"]).vectors.tolist()
            served.spans.append((start, time.monotonic()))
            data = json.dumps(rows).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # who asked was killed
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    served.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
