"""Load: `rag serve` next to `mlflow models serve`, with the same artifact, in one run.

    python benchmarks/serving.py ARTIFACT [QUESTIONS.jsonl] [--clients 64] [--seconds 60]

Each server runs alone, in its turn, on the machine that also runs the clients: without its answer
cache, streaming without it, with it (the default), and then MLflow. Every question is asked once
before the clock starts, so that the embeddings that a program keeps are there. A client asks again
as soon as it has its answer; questions go round. Prints throughput, latency, errors and the
server's memory after a tenth of the time and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
DEFAULT = ROOT / "examples/python_reference/questions.jsonl"
RAG = "from artifacts.cli import main; main()"

Ask = Callable[[httpx.AsyncClient, str], Awaitable[bool]]


@dataclass
class Outcome:
    """What one server did under load; memory in MB."""

    seconds: float = 0
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: int) -> float:
        return statistics.quantiles(self.latencies, n=100)[share - 1]


@dataclass(frozen=True)
class Load:
    """How hard to press."""

    questions: Sequence[str]
    clients: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifact")
    parser.add_argument("questions", nargs="?", default=str(DEFAULT))
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    chosen = parser.parse_args()
    lines = Path(chosen.questions).read_text(encoding="utf-8").splitlines()
    load = Load([json.loads(line)["question"] for line in lines], chosen.clients, chosen.seconds)
    artifact = str(Path(chosen.artifact).resolve())
    with TemporaryDirectory() as folder:
        found = measured(artifact, Path(folder), load)
    print(f"{load.clients} clients, {load.seconds:.0f} s each, {os.cpu_count()} cores shared by")
    print(f"server and clients; load average of the machine at the end {os.getloadavg()[0]:.1f}\n")
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


def measured(artifact: str, folder: Path, load: Load) -> dict[str, Outcome]:
    """Press every server in its turn."""
    no_cache = ("--cache", "0")
    with rag_server(artifact, folder, *no_cache) as (url, pid):
        plain = asyncio.run(press(url, pid, asks, load))
    with rag_server(artifact, folder, *no_cache) as (url, pid):
        streams = asyncio.run(press(url, pid, _streams, load))
    with rag_server(artifact, folder) as (url, pid):
        cached = asyncio.run(press(url, pid, asks, load))
    with mlflow_server(artifact, folder) as (url, pid):
        mlflow = asyncio.run(press(url, pid, invokes, load))
    return {
        "rag serve, no cache": plain,
        "rag serve, no cache, streaming": streams,
        "rag serve": cached,
        "mlflow models serve": mlflow,
    }


@contextmanager
def rag_server(artifact: str, folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Run `rag serve`; yields its address and process id."""
    port = _free_port()
    store = ("--store", str(folder / "feedback.sqlite"))
    command = [sys.executable, "-c", RAG, "serve", artifact, "--port", str(port), *store]
    with _process([*command, *options], f"http://127.0.0.1:{port}/readyz", {}) as pid:
        yield f"http://127.0.0.1:{port}", pid


@contextmanager
def mlflow_server(artifact: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Log the artifact as a model, and run `mlflow models serve` on it."""
    from mlflow import MlflowClient

    from artifacts import log_artifact

    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("load", artifact_location=(folder / "files").as_uri())
    run = client.create_run(experiment).info.run_id
    model = log_artifact(artifact, tracking_uri=uri, run_id=run)
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "-p", str(port)]
    options = ["--env-manager", "local"]
    environment = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with _process([*command, *options], f"http://127.0.0.1:{port}/ping", environment) as pid:
        yield f"http://127.0.0.1:{port}", pid


async def press(url: str, pid: int, ask: Ask, load: Load) -> Outcome:
    """Let the clients ask until the time is up."""
    outcome, turns = Outcome(), itertools.cycle(load.questions)
    limits = httpx.Limits(max_connections=load.clients)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        await asyncio.gather(*(ask(client, question) for question in load.questions))
        begun = time.perf_counter()

        async def work() -> None:
            while time.perf_counter() - begun < load.seconds:
                asked = time.perf_counter()
                try:
                    whole = await ask(client, next(turns))
                except httpx.HTTPError as error:
                    outcome.errors[type(error).__name__] += 1
                    continue
                if whole:
                    outcome.latencies.append(time.perf_counter() - asked)
                else:
                    outcome.errors["not an answer"] += 1

        async def watch() -> None:
            await asyncio.sleep(load.seconds / 10)
            outcome.memory.append(_megabytes(pid))

        await asyncio.gather(watch(), *(work() for _ in range(load.clients)))
        outcome.seconds = time.perf_counter() - begun
    outcome.memory.append(_megabytes(pid))
    return outcome


async def asks(client: httpx.AsyncClient, question: str) -> bool:
    response = await client.post("/v1/ask", json={"question": question})
    response.raise_for_status()
    return "citations" in response.json()


async def _streams(client: httpx.AsyncClient, question: str) -> bool:
    async with client.stream("POST", "/v1/ask/stream", json={"question": question}) as response:
        response.raise_for_status()
        text = "".join([part async for part in response.aiter_text()])
    return "event: done" in text


async def invokes(client: httpx.AsyncClient, question: str) -> bool:
    response = await client.post("/invocations", json={"inputs": [{"question": question}]})
    response.raise_for_status()
    return "citations" in response.json()["predictions"][0]


@contextmanager
def _process(command: list[str], ready: str, more: dict[str, str]) -> Iterator[int]:
    # MLflow starts uvicorn by its name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **more}
    process = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(1200):
            if process.poll() is not None:
                raise SystemExit(f"ended at once: {' '.join(command)}")
            try:
                if httpx.get(ready, timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            raise SystemExit(f"did not start: {' '.join(command)}")
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _megabytes(pid: int) -> float:
    """Return the resident memory of a process and all below it, in MB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    own = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return own + sum(_megabytes(int(child)) for child in children)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
