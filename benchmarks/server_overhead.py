"""What `rag serve` adds to a program, beside a thin FastAPI app around the same program.

    python benchmarks/server_overhead.py ARTIFACT [QUESTIONS.jsonl] [--runs 100] [--rounds 3]

Four ways take turns, ten questions at a time, so that all see the same machine: the program in this
process, the thin app (`thin_server.py`), `rag serve` without its answer cache, and with it (every
answer a hit). Each question is asked once on all sides before it counts, so that what a program
keeps is there. One client, one connection. `rag serve` is as it comes: it records answers, counts
and logs; `--store ""` keeps no record. Prints medians of wall-clock time, and the processor time of
the whole process that answers, per question: other jobs disturb that less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.servers import (  # noqa: E402
    parser_of,
    processor_seconds,
    questions_in,
    rag_server,
    thin_server,
)
from ragwright.artifacts import load  # noqa: E402

BLOCK = 10


@dataclass
class Way:
    """One way to ask, the process that answers, and what it took: seconds."""

    ask: Callable[[str], object]
    pid: int
    walls: list[float] = field(default_factory=list)
    processor: float = 0.0

    def measure(self, questions: Sequence[str]) -> None:
        before = processor_seconds(self.pid)
        for question in questions:
            begun = time.perf_counter()
            self.ask(question)
            self.walls.append(time.perf_counter() - begun)
        self.processor += processor_seconds(self.pid) - before


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--index", help="the index, if it is elsewhere by now")
    parser.add_argument("--trust", action="append", default=[], help="as `rag serve --trust`")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", help="the file of `rag serve --store`; by default a new one")
    chosen = parser.parse_args()
    questions = questions_in(chosen.questions)[: chosen.runs]
    with TemporaryDirectory() as folder, ways(chosen, folder) as found:
        for way in found.values():
            for question in questions:
                way.ask(question)
        for _ in range(chosen.rounds):
            for first in range(0, len(questions), BLOCK):
                for way in found.values():
                    way.measure(questions[first : first + BLOCK])
    shown(found)


@contextmanager
def ways(chosen: argparse.Namespace, folder: str) -> Iterator[dict[str, Way]]:
    """Start the servers; every way, by its name."""
    artifact, index, store = (getattr(chosen, name) for name in ("artifact", "index", "store"))
    more = [word for name in chosen.trust for word in ("--trust", name)]
    more += ["--index", index] if index else []
    program = load(artifact, index=index, trust=chosen.trust)
    kept = ("--store", f"{folder}/store.sqlite" if store is None else store)
    with ExitStack() as stack:
        servers = {
            "thin FastAPI app": thin_server(artifact, *more),
            "rag serve, no answer cache": rag_server(artifact, *more, *kept, "--cache", "0"),
            "rag serve, kept answers": rag_server(artifact, *more, *kept),
        }
        found = {"in process": Way(lambda question: program(question=question), os.getpid())}
        for name, starting in servers.items():
            server = stack.enter_context(starting)
            client = stack.enter_context(httpx.Client(base_url=server.url, timeout=60))
            found[name] = Way(_asking(client), server.pid)
        yield found


def _asking(client: httpx.Client) -> Callable[[str], object]:
    return lambda question: client.post("/v1/ask", json={"question": question}).raise_for_status()


def shown(found: dict[str, Way]) -> None:
    thin = found["thin FastAPI app"]
    print("| way | n | wall, median ms | p95 | CPU ms a question | against the thin app |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, way in found.items():
        count, high = len(way.walls), statistics.quantiles(way.walls, n=20)[-1]
        wall = f"{1000 * statistics.median(way.walls):.2f} | {1000 * high:.2f}"
        spent = f"{1000 * way.processor / count:.2f} | {way.processor / thin.processor:.2f}"
        print(f"| {name} | {count} | {wall} | {spent} |")
    print(f"\nload average of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
