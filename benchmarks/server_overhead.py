"""What HTTP adds: the median of /v1/ask minus the median of the same call in this process.

    python benchmarks/server_overhead.py ARTIFACT [QUESTIONS.jsonl] [--runs 100]

Each question is asked once on both sides before it counts, so that the embeddings that a program
keeps are there. Then server and direct call take turns, question by question, so that both see the
same machine; the server's answer cache is off. One client, one connection. Prints medians in
milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from artifacts import load  # noqa: E402

RAG = "from artifacts.cli import main; main()"
DEFAULT = ROOT / "examples/python_reference/questions.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifact")
    parser.add_argument("questions", nargs="?", default=str(DEFAULT))
    parser.add_argument("--runs", type=int, default=100)
    chosen = parser.parse_args()
    lines = Path(chosen.questions).read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines][: chosen.runs]
    program = load(chosen.artifact)
    with _server(chosen.artifact) as client:
        direct, served = [], []
        for question in questions:
            program(question=question)
            _ask(client, question)
        for question in questions:
            direct.append(_timed(lambda question=question: program(question=question)))
            served.append(_timed(lambda question=question: _ask(client, question)))
    middle, through = 1000 * statistics.median(direct), 1000 * statistics.median(served)
    print(f"n = {len(questions)}: in process {middle:.2f} ms, through /v1/ask {through:.2f} ms")
    added = [1000 * (two - one) for one, two in zip(direct, served, strict=True)]
    print(f"the server adds {through - middle:.2f} ms (difference of the medians), or")
    print(f"{statistics.median(added):.2f} ms (median of the differences)")
    print(f"load average of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


@contextmanager
def _server(artifact: str) -> Iterator[httpx.Client]:
    port, environment = _free_port(), {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RAG, "serve", artifact, "--port", str(port), "--cache", "0"]
    with TemporaryDirectory() as folder:
        store = ("--store", str(Path(folder) / "feedback.sqlite"))
        server = subprocess.Popen([*command, *store], env=environment, stderr=subprocess.DEVNULL)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                _wait(client)
                yield client
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def _ask(client: httpx.Client, question: str) -> None:
    client.post("/v1/ask", json={"question": question}).raise_for_status()


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _wait(client: httpx.Client) -> None:
    for _ in range(3000):
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise SystemExit("the server did not start: run `rag serve` to see why")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
