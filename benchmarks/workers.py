"""Throughput of `rag serve` with one worker and with several, over one index in a folder.

    python benchmarks/workers.py ARTIFACT [QUESTIONS.jsonl] [--workers 2] [--clients 16]

No answer is cached. The ways take turns, `--rounds` times for `--seconds` each, so that a busy
machine is busy for both; every server has the same number of threads for its models. Prints the
answers per second of each round, and the ratio of the sums. The clients run on the same machine
and take their share of it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.load import Load, Outcome, asks, pressed  # noqa: E402
from benchmarks.servers import parser_of, questions_in, rag_server  # noqa: E402


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trust", action="append", default=[], help="as `rag serve --trust`")
    chosen = parser.parse_args()
    load = Load(questions_in(chosen.questions), chosen.clients, chosen.seconds)
    artifact = str(Path(chosen.artifact).resolve())
    os.environ["OMP_NUM_THREADS"] = "1"
    found: dict[int, list[Outcome]] = {1: [], chosen.workers: []}
    for _ in range(chosen.rounds):
        for workers, outcomes in found.items():
            options = ["--workers", str(workers), "--cache", "0", "--store", ""]
            options += [word for name in chosen.trust for word in ("--trust", name)]
            with rag_server(artifact, *options) as server:
                outcomes.append(pressed(server, asks, load))
    print(f"{os.cpu_count()} cores shared by servers and clients; load {os.getloadavg()[0]:.1f}\n")
    print("| workers | answers/s, by round | median ms | p95 ms | errors |")
    print("| --- | --- | --- | --- | --- |")
    for workers, outcomes in found.items():
        rates = ", ".join(f"{one.throughput:.1f}" for one in outcomes)
        last, errors = outcomes[-1], sum(sum(one.errors.values()) for one in outcomes)
        shown = f"{1000 * last.percentile(50):.0f} | {1000 * last.percentile(95):.0f}"
        print(f"| {workers} | {rates} | {shown} | {errors} |")
    one, more = (sum(o.throughput for o in outcomes) for outcomes in found.values())
    print(f"\n{chosen.workers} workers against one: {more / one:.2f}")


if __name__ == "__main__":
    main()
