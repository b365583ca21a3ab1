"""Ports for servers that are told theirs before they start."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_DEALT = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port that nobody listens on, outside of what the system deals out by itself.

    One that it dealt out and took back may belong to a connection of another test by the time
    a server has started.
    """
    lowest = int(_DEALT.read_text(encoding="ascii").split()[0]) if _DEALT.exists() else 32_768
    draw = random.SystemRandom()
    while True:
        port = draw.randrange(10_000, max(lowest, 20_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
