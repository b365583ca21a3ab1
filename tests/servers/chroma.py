"""A real Chroma server, `chroma run`, on loopback."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import free_port


@contextmanager
def chroma_server(folder: Path, port: int | None = None) -> Iterator[tuple[int, subprocess.Popen]]:
    """Run a server over a folder; yields its port and process."""
    port = port or free_port()
    chroma = Path(sys.executable).with_name("chroma")
    command = [
        str(chroma),
        "run",
        "--path",
        str(folder),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder.parent
    )
    try:
        _wait(process, port)
        yield port, process
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen, port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=1).close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
        assert process.poll() is None, "chroma run ended"
    raise AssertionError("chroma run did not answer in two minutes")
