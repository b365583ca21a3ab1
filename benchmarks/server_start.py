"""From `rag serve` to ready, and what the time goes into.

    python benchmarks/server_start.py ARTIFACT [--runs 5]

Prints the median over the runs of start-to-ready (a new process each, first /readyz that says
"ok"), and an itemised list of what importing the server costs (`python -X importtime`, once).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.servers import environment, rag_server  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifact")
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = [start(chosen.artifact) for _ in range(chosen.runs)]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = ", ".join(f"{one:.2f}" for one in seconds)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"start to ready: median {statistics.median(seconds):.2f} s of {len(seconds)} ({shown})")
    print(f"processor time of a start and a stop: {used / len(seconds):.2f} s")
    print(f"load average of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("\nimports, seconds of own time by package:")
    for package, spent in imports()[:15]:
        print(f"  {package:20} {spent:6.3f}")


def start(artifact: str) -> float:
    """Start a server, wait until it is ready, stop it; return the seconds until it was."""
    with rag_server(artifact, "--store", "") as server:
        return server.seconds


def imports() -> list[tuple[str, float]]:
    """Return the seconds that the imports of the server take, by top-level package."""
    code = "import ragwright.artifacts.cli, artifacts.server.run"
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    spent: dict[str, float] = {}
    for line in done.stderr.splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        if own.strip().isdecimal():
            package = name.strip().split(".")[0]
            spent[package] = spent.get(package, 0) + int(own) / 1e6
    return sorted(spent.items(), key=lambda item: -item[1])


if __name__ == "__main__":
    main()
