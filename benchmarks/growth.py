"""How an index grows: rate, memory, disk, first query, latency, a change and a check, by size.

    python benchmarks/growth.py                               10,000 and 100,000 passages
    python benchmarks/growth.py --sizes 1000000 --dims 64     the million (over an hour)
    python benchmarks/growth.py --sizes 100000 --dims 384

Passages of 20 drawn words, the hash embedder, Chroma embedded. Every step is a process of its own,
so that its peak memory is its own. "first" is the time from opening the index to the first answer,
imports apart; "p95" of a hybrid search and of Chroma's own search for 100 neighbours, in turns over
the same 200 questions; "change" an ingest of the whole collection in which one passage of a hundred
differs, "upsert" those passages alone; "verify" reads every file of the index. Indexes are kept
below .rag/benchmarks, and one that is there is measured as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ragwright.programs import HybridRetriever  # noqa: E402
from ragwright.retrievers.chunking import ChunkSettings  # noqa: E402
from ragwright.retrievers.index import IndexSettings, open_index  # noqa: E402
from ragwright.retrievers.ingest import ingest, upsert_documents  # noqa: E402
from ragwright.retrievers.types import Document  # noqa: E402
from ragwright.retrievers.upkeep import verify  # noqa: E402

WORDS = 30_000
QUESTIONS = 200
NEIGHBOURS = 100
COLUMNS = (
    "passages", "dimensions", "passages/s", "CPU ms a passage", "peak MB", "disk MB",
    "first query s",
    "hybrid ms, p50 / p95", "Chroma ms, p50 / p95", "1 % changed s", "verify s (peak MB)",
)  # fmt: skip
STEPS = ("first", "latency", "verify", "change", "upsert")
CHANGED = 100
"""One passage of so many is another one after the change."""


def documents(count: int, version: int) -> Iterator[Document]:
    drawn = np.random.default_rng(0)
    for number in range(count):
        text = words(drawn, 20)
        if version and number % CHANGED == 0:
            text = f"{text} version{version}"
        yield Document(f"d{number}", text, metadata={"number": number})


def words(drawn: np.random.Generator, count: int) -> str:
    """Draw words as frequent as in texts: few of them often."""
    return " ".join(f"w{word}" for word in drawn.zipf(1.2, count) % WORDS)


def ingested(path: Path, count: int, dims: int, version: int) -> dict[str, float]:
    settings = IndexSettings(embedder=f"hash:{dims}", chunking=ChunkSettings(size=256))
    began = time.process_time()
    done = ingest(documents(count, version), path, settings)
    processor = time.process_time() - began
    return {"written": done.chunks_written, "seconds": done.seconds, "processor": processor}


def upserted(path: Path, count: int) -> dict[str, float]:
    changed = [
        one for one in documents(count, int(time.time())) if one.metadata["number"] % CHANGED == 0
    ]
    began = time.process_time()
    done = upsert_documents(changed, path)
    processor = time.process_time() - began
    return {"written": done.chunks_written, "seconds": done.seconds, "processor": processor}


def first(path: Path) -> dict[str, float]:
    import dspy  # noqa: F401 - what a process loads once is not the index's

    began = time.perf_counter()
    HybridRetriever(str(path))("w17 w4711 w23 w1234")
    return {"seconds": time.perf_counter() - began}


def latency(path: Path) -> dict[str, float]:
    index, search, drawn = open_index(path), HybridRetriever(str(path)), np.random.default_rng(1)
    spent: dict[str, list[float]] = {"hybrid": [], "Chroma": []}
    for number in range(QUESTIONS + 20):
        question = words(drawn, 8)
        vector = index._encoded(question).vectors[0]
        calls: Mapping[str, Callable[[], Any]] = {
            "hybrid": partial(search, question),
            "Chroma": partial(index._parts.store.query, vector, NEIGHBOURS, None),
        }
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if number >= 20:
                spent[name].append(1000 * (time.perf_counter() - began))
    percentiles = {name: np.percentile(times, (50, 95)) for name, times in spent.items()}
    return {
        f"{name} p{which}": float(value)
        for name, values in percentiles.items()
        for which, value in zip((50, 95), values, strict=True)
    }


def checked(path: Path) -> dict[str, float]:
    began = time.perf_counter()
    sound = verify(path).sound
    return {"seconds": time.perf_counter() - began, "sound": sound}


def step(name: str, path: Path, count: int, dims: int) -> dict[str, float]:
    """Do one step here; megabytes of peak memory beside what it came to."""
    steps: dict[str, Callable[[], dict[str, float]]] = {
        "ingest": lambda: ingested(path, count, dims, 0),
        "first": lambda: first(path),
        "latency": lambda: latency(path),
        "change": lambda: ingested(path, count, dims, int(time.time())),
        "upsert": lambda: upserted(path, count),
        "verify": lambda: checked(path),
    }
    loaded = peak()
    return {**steps[name](), "loaded": loaded, "peak": peak()}


def peak() -> float:
    """Peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(name: str, count: int, dims: int) -> dict[str, float]:
    """Do one step in a process of its own."""
    command = [sys.executable, __file__, "--step", name, "--sizes", str(count), "--dims", str(dims)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    done: dict[str, float] = json.loads(printed.splitlines()[-1])
    print(f"  {name}: {done}", file=sys.stderr, flush=True)
    return done


def place(count: int, dims: int) -> Path:
    return ROOT / f".rag/benchmarks/growth-{count}-{dims}"


def disk(path: Path) -> dict[str, int]:
    """Return the megabytes of each part of an index."""
    parts = {
        part.name: sum(file.stat().st_size for file in [part, *part.rglob("*")] if file.is_file())
        for part in path.iterdir()
    }
    return {name: round(size / 1e6) for name, size in parts.items() if size > 1e6}


def row(count: int, dims: int) -> str:
    made = None if place(count, dims).exists() else apart("ingest", count, dims)
    sizes = disk(place(count, dims))
    parts = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    found = {name: apart(name, count, dims) for name in STEPS}
    times, change, part = found["latency"], found["change"], found["upsert"]
    cells = [
        f"{count:,}",
        str(dims),
        f"{made['written'] / made['seconds']:,.0f}" if made else "",
        f"{1000 * made['processor'] / made['written']:.2f}" if made else "",
        f"{made['peak']:,.0f}" if made else "",
        f"{sum(sizes.values()):,} ({parts})",
        f"{found['first']['seconds']:.2f}",
        *(f"{times[f'{who} p50']:.1f} / {times[f'{who} p95']:.1f}" for who in ("hybrid", "Chroma")),
        f"{change['seconds']:.0f} ({change['written']:,.0f} written)",
        f"{part['seconds']:.1f} ({part['written']:,.0f} written)",
        f"{found['verify']['seconds']:.0f} ({found['verify']['peak']:,.0f})",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dims", type=int, default=64)
    parser.add_argument("--step", help="do this step alone, in this process")
    options = parser.parse_args()
    if options.step:
        count = options.sizes[0]
        done = step(options.step, place(count, options.dims), count, options.dims)
        print(json.dumps(done))
        return
    rows = [row(count, options.dims) for count in options.sizes]
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    print("\n".join(rows))
    print(f"load average of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
