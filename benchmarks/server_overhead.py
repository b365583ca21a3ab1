"""What HTTP adds: the median of /v1/ask minus the median of the same call in this process.

    python benchmarks/server_overhead.py ARTIFACT [QUESTIONS.jsonl] [--runs 100]

Each question is asked once on both sides before it counts, so that the embeddings that a program
keeps are there. Then server and direct call take turns, question by question, so that both see the
same machine; the server's answer cache is off. One client, one connection. Prints medians in
milliseconds.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.servers import parser_of, questions_in, rag_server  # noqa: E402
from ragwright.artifacts import load  # noqa: E402


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=int, default=100)
    chosen = parser.parse_args()
    questions = questions_in(chosen.questions)[: chosen.runs]
    program = load(chosen.artifact)
    with (
        TemporaryDirectory() as folder,
        rag_server(chosen.artifact, "--cache", "0", "--store", f"{folder}/store.sqlite") as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
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


def _ask(client: httpx.Client, question: str) -> None:
    client.post("/v1/ask", json={"question": question}).raise_for_status()


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
