"""Throughput of `rag serve` with one worker and with several, over one index in a folder.

    python benchmarks/workers.py ARTIFACT [QUESTIONS.jsonl] [--workers 2] [--clients 16]

No answer is cached. The ways take turns, `--rounds` times for `--seconds` each, so that a busy
machine is busy for both; every server has the same number of threads for its models. Prints the
answers per second of each round, and the ratio of the sums. The clients run on the same machine
and take their share of it.

The offline reader uses every core by itself. With `--away SECONDS` a scripted model on loopback
that waits so long answers in its place (tests/servers), and every question is asked in new words:
what is left is the server's own work, which Python does on one core a worker.

Beside the answers stands what they cost: processor milliseconds an answer of the server, and of
the clients with the scripted model; and how much of the machine's cores both took. What the cores
could answer if nothing else ran on them is the limit, and the limit of one worker that keeps to one
core is what the server alone costs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.load import Load, asks, pressed  # noqa: E402
from benchmarks.servers import (  # noqa: E402
    parser_of,
    processor_seconds,
    questions_in,
    rag_server,
)
from benchmarks.serving_remote import far, new_words  # noqa: E402


@dataclass(frozen=True)
class Round:
    """One server under load: seconds, and seconds of a processor."""

    answers: int
    seconds: float
    server: float
    clients: float
    median: float
    errors: int


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=40, help="questions, asked again and again")
    parser.add_argument("--away", type=float, help="of a scripted model that answers instead")
    parser.add_argument("--index", help="the index, if it is elsewhere by now")
    parser.add_argument("--trust", action="append", default=[], help="as `rag serve --trust`")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    found: dict[int, list[Round]] = {1: [], chosen.workers: []}
    with served(chosen) as artifact:
        for _ in range(chosen.rounds):
            for workers, rounds in found.items():
                rounds.append(measured(artifact, workers, chosen))
    print(f"{os.cpu_count()} cores; load average at the end {os.getloadavg()[0]:.1f}\n")
    shown(found)


@contextmanager
def served(chosen: argparse.Namespace) -> Iterator[str]:
    """Yield the artifact, with another model if one is asked for."""
    if chosen.away is None:
        yield str(Path(chosen.artifact).resolve())
        return
    with (
        TemporaryDirectory() as folder,
        far(chosen.artifact, Path(folder), chosen.away, index=chosen.index) as artifact,
    ):
        yield artifact


def measured(artifact: str, workers: int, chosen: argparse.Namespace) -> Round:
    """Press a server with so many workers; what is asked before the clock starts counts too."""
    questions = questions_in(chosen.questions)[: chosen.few]
    load = Load(questions, chosen.clients, chosen.seconds)
    options = ["--workers", str(workers), "--cache", "0", "--store", ""]
    options += ["--index", chosen.index] if chosen.index else []
    options += [word for name in chosen.trust for word in ("--trust", name)]
    with rag_server(artifact, *options) as server:
        before, own, begun = _spent(server.pid), time.process_time(), time.perf_counter()
        outcome = pressed(server, asks if chosen.away is None else new_words(asks), load)
        return Round(
            answers=len(outcome.latencies) + len(questions),
            seconds=time.perf_counter() - begun,
            server=_spent(server.pid) - before,
            clients=time.process_time() - own,
            median=outcome.percentile(50),
            errors=sum(outcome.errors.values()),
        )


def _spent(pid: int) -> float:
    """Processor seconds of a server and of its workers."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return sum(processor_seconds(one) for one in (pid, *map(int, children)))


def shown(found: dict[int, list[Round]]) -> None:
    print(
        "| workers | answers/s, by round | median ms | server, CPU ms an answer | clients | cores |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for workers, rounds in found.items():
        rates = ", ".join(f"{one.answers / one.seconds:.1f}" for one in rounds)
        taken = f"{_each(rounds, 'server'):.1f} | {_each(rounds, 'clients'):.1f}"
        cores = sum(one.server + one.clients for one in rounds) / _sum(rounds, "seconds")
        print(f"| {workers} | {rates} | {1000 * rounds[-1].median:.0f} | {taken} | {cores:.2f} |")
    one, more = found.values()
    gained = _rate(more) / _rate(one)
    print(f"\nagainst one worker: {gained:.2f}; errors: {_sum([*one, *more], 'errors'):.0f}")
    alone, all_of_it = _each(more, "server"), _each(more, "server") + _each(more, "clients")
    limit = min(list(found)[1], (os.cpu_count() or 1) * alone / all_of_it)
    print(f"limit on this machine, if one worker took exactly a core: {limit:.2f}")


def _each(rounds: list[Round], name: str) -> float:
    """Milliseconds an answer."""
    return 1000 * _sum(rounds, name) / _sum(rounds, "answers")


def _rate(rounds: list[Round]) -> float:
    return _sum(rounds, "answers") / _sum(rounds, "seconds")


def _sum(rounds: list[Round], name: str) -> float:
    return float(sum(getattr(one, name) for one in rounds))


if __name__ == "__main__":
    main()
