"""Load: `rag serve` next to `mlflow models serve`, with the same artifact, in one run.

    python benchmarks/serving.py ARTIFACT [QUESTIONS.jsonl] [--clients 64] [--seconds 60]

Each server runs alone, in its turn, on the machine that also runs the clients: without its answer
cache, streaming without it, with it (the default), and then MLflow. Every question is asked once
before the clock starts, so that the embeddings that a program keeps are there. A client asks again
as soon as it has its answer; questions go round. Prints throughput, latency, errors and the
server's memory after a tenth of the time and at the end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.load import Load, Outcome, Way, asks, invokes, measured, streams  # noqa: E402
from benchmarks.servers import parser_of, questions_in  # noqa: E402

WAYS = (
    Way("rag serve, no cache", asks, ("--cache", "0")),
    Way("rag serve, no cache, streaming", streams, ("--cache", "0")),
    Way("rag serve", asks),
)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    chosen = parser.parse_args()
    load = Load(questions_in(chosen.questions), chosen.clients, chosen.seconds)
    artifact = str(Path(chosen.artifact).resolve())
    with TemporaryDirectory() as folder:
        found = measured(artifact, Path(folder), load, WAYS, invokes)
    print(f"{load.clients} clients, {load.seconds:.0f} s each, {os.cpu_count()} cores shared by")
    print(f"server and clients; load average of the machine at the end {os.getloadavg()[0]:.1f}\n")
    table_of(found)


def table_of(found: dict[str, Outcome]) -> None:
    print("| server | answers/s | median ms | p95 ms | errors | MB early | MB end |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, one in found.items():
        early, end = one.memory[0], one.memory[-1]
        shown = f"{1000 * one.percentile(50):.0f} | {1000 * one.percentile(95):.0f}"
        errors = sum(one.errors.values())
        print(f"| {name} | {one.throughput:.1f} | {shown} | {errors} | {early:.0f} | {end:.0f} |")
    mlflow = found["mlflow models serve"].throughput
    print(f"\nthroughput next to MLflow's: {found['rag serve'].throughput / mlflow:.2f}, and")
    print(f"without the answer cache {found['rag serve, no cache'].throughput / mlflow:.2f}")
    for name, one in found.items():
        if one.errors:
            print(name, dict(one.errors))


if __name__ == "__main__":
    main()
