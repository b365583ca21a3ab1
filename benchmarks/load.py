"""A server and a number of clients in, what it did under their load out.

A client asks again as soon as it has its answer; questions go round. Each is asked once before the
clock starts, so that the embeddings that a program keeps are there. Knows nothing of how the
numbers are shown.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.servers import Server, mlflow_server, rag_server

Ask = Callable[[httpx.AsyncClient, str], Awaitable[bool]]
"""Asks a question; tells whether the reply was a whole answer."""


@dataclass(frozen=True)
class Load:
    """How hard to press."""

    questions: Sequence[str]
    clients: int
    seconds: float


@dataclass(frozen=True)
class Way:
    """One way to run `rag serve` and to ask it."""

    name: str
    ask: Ask
    options: tuple[str, ...] = ()


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


def measured(
    artifact: str, folder: Path, load: Load, ways: Sequence[Way], invoke: Ask
) -> dict[str, Outcome]:
    """Press `rag serve` in every way, then MLflow's server: each runs alone, in its turn."""
    store = ("--store", str(folder / "feedback.sqlite"))
    found = {}
    for way in ways:
        with rag_server(artifact, *store, *way.options) as server:
            found[way.name] = pressed(server, way.ask, load)
    with mlflow_server(artifact, folder) as server:
        found["mlflow models serve"] = pressed(server, invoke, load)
    return found


def pressed(server: Server, ask: Ask, load: Load) -> Outcome:
    """Press a server that runs."""
    return asyncio.run(_pressed(server, ask, load))


async def asks(client: httpx.AsyncClient, question: str) -> bool:
    response = await client.post("/v1/ask", json={"question": question})
    response.raise_for_status()
    return "citations" in response.json()


async def streams(client: httpx.AsyncClient, question: str) -> bool:
    async with client.stream("POST", "/v1/ask/stream", json={"question": question}) as response:
        response.raise_for_status()
        text = "".join([part async for part in response.aiter_text()])
    return "event: done" in text


async def invokes(client: httpx.AsyncClient, question: str) -> bool:
    response = await client.post("/invocations", json={"inputs": [{"question": question}]})
    response.raise_for_status()
    return "citations" in response.json()["predictions"][0]


async def _pressed(server: Server, ask: Ask, load: Load) -> Outcome:
    """Let the clients ask until the time is up."""
    outcome, turns = Outcome(), itertools.cycle(load.questions)
    limits = httpx.Limits(max_connections=load.clients)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client:
        await asyncio.gather(*(ask(client, question) for question in load.questions))
        begun = time.perf_counter()

        async def work() -> None:
            while time.perf_counter() - begun < load.seconds:
                await _noted(ask(client, next(turns)), outcome)

        async def watch() -> None:
            await asyncio.sleep(load.seconds / 10)
            outcome.memory.append(resident_megabytes(server.pid))

        await asyncio.gather(watch(), *(work() for _ in range(load.clients)))
        outcome.seconds = time.perf_counter() - begun
    outcome.memory.append(resident_megabytes(server.pid))
    return outcome


async def _noted(reply: Awaitable[bool], outcome: Outcome) -> None:
    """Wait for a reply; note how long it took, or what came instead."""
    asked = time.perf_counter()
    try:
        whole = await reply
    except httpx.HTTPError as error:
        outcome.errors[type(error).__name__] += 1
        return
    if whole:
        outcome.latencies.append(time.perf_counter() - asked)
    else:
        outcome.errors["not an answer"] += 1


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process and all below it, in MB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    own = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return own + sum(resident_megabytes(int(child)) for child in children)
