"""How an index grows: rate, memory, disk, first query, latency, a change and a check, by size.

    python benchmarks/growth.py                               10,000 and 100,000 passages
    python benchmarks/growth.py --sizes 1000000 --dims 64     the million (over an hour)
    python benchmarks/growth.py --sizes 100000 --dims 384
    python benchmarks/growth.py --texts natural --steps latency

Passages of 20 drawn words, or "natural": of 4 drawn sentences of SQuAD and SciFact (below
$RAG_DATA, default ../shared/data), with questions of theirs. A drawn word is "w17", which keyword
search knows by three terms, one of them in every passage: it reads more than of a text. The hash
embedder, Chroma embedded. Every step is a process of its own, so that its peak memory is its own.
"first" is the time from opening the index to the first answer, imports apart; "p95" of a hybrid
search and of Chroma's own search for 100 neighbours, in turns over the same 200 questions, of each
question the best of five turns, which other jobs disturb least; "change" an ingest of the whole
collection in which one passage of a hundred differs, "upsert" those passages alone; "verify" reads
every file of the index. Indexes are kept
below .rag/benchmarks, and one that is there is measured as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, lines, sample_of  # noqa: E402
from ragwright.programs import HybridRetriever  # noqa: E402
from ragwright.retrievers.chunking import ChunkSettings  # noqa: E402
from ragwright.retrievers.index import IndexSettings, open_index  # noqa: E402
from ragwright.retrievers.ingest import ingest, upsert_documents  # noqa: E402
from ragwright.retrievers.types import Document  # noqa: E402
from ragwright.retrievers.upkeep import verify  # noqa: E402

WORDS = 30_000
QUESTIONS, TURNS = 200, 5
NEIGHBOURS = 100
COLUMNS = (
    "passages", "dimensions", "passages/s", "CPU ms a passage", "peak MB", "disk MB",
    "first query s",
    "hybrid ms, p50 / p95", "CPU", "Chroma ms, p50 / p95", "CPU", "1 % changed s", "1 % upserted s",
    "verify s (peak MB)",
)  # fmt: skip
STEPS = ("first", "latency", "verify", "change", "upsert")
SETS = ("squad", "scifact")
SENTENCES = 4
DRAWN, NATURAL = "drawn", "natural"
CHANGED = 100
"""One passage of so many is another one after the change."""


@dataclass(frozen=True)
class Case:
    """An index that is measured."""

    texts: str
    count: int
    dims: int

    @property
    def path(self) -> Path:
        name = f"growth-{self.count}-{self.dims}"
        return ROOT / ".rag/benchmarks" / (name if self.texts == DRAWN else f"{name}-{self.texts}")

    def documents(self, version: int) -> Iterator[Document]:
        return documents(self.texts, self.count, version)


def documents(texts: str, count: int, version: int) -> Iterator[Document]:
    drawn = np.random.default_rng(0)
    for number in range(count):
        text = words(drawn, 20) if texts == DRAWN else sentences(drawn)
        if version and number % CHANGED == 0:
            text = f"{text} version{version}"
        yield Document(f"d{number}", text, metadata={"number": number})


def words(drawn: np.random.Generator, count: int) -> str:
    """Draw words as frequent as in texts: few of them often."""
    return " ".join(f"w{word}" for word in drawn.zipf(1.2, count) % WORDS)


@cache
def every_sentence() -> list[str]:
    texts = (line["text"] for name in SETS for line in lines(DATA / name / "corpus.jsonl"))
    return [part for text in texts for part in re.split(r"(?<=[.?!])\s+(?=[A-Z])", text)]


def sentences(drawn: np.random.Generator) -> str:
    held = every_sentence()
    return " ".join(held[place] for place in drawn.integers(len(held), size=SENTENCES))


def questions(texts: str) -> list[str]:
    if texts == DRAWN:
        drawn = np.random.default_rng(1)
        return [words(drawn, 8) for _ in range(QUESTIONS)]
    share = QUESTIONS // len(SETS)
    return [one.question for name in SETS for one in sample_of(DATA / name, share)]


def ingested(case: Case, version: int) -> dict[str, float]:
    settings = IndexSettings(embedder=f"hash:{case.dims}", chunking=ChunkSettings(size=256))
    began = time.process_time()
    done = ingest(case.documents(version), case.path, settings)
    processor = time.process_time() - began
    return {"written": done.chunks_written, "seconds": done.seconds, "processor": processor}


def upserted(case: Case) -> dict[str, float]:
    every = case.documents(int(time.time()))
    changed = [one for one in every if one.metadata["number"] % CHANGED == 0]
    began = time.process_time()
    done = upsert_documents(changed, case.path)
    processor = time.process_time() - began
    return {"written": done.chunks_written, "seconds": done.seconds, "processor": processor}


def first(case: Case) -> dict[str, float]:
    import dspy  # noqa: F401 - what a process loads once is not the index's

    began = time.perf_counter()
    HybridRetriever(str(case.path))("w17 w4711 w23 w1234")
    return {"seconds": time.perf_counter() - began}


def latency(case: Case) -> dict[str, float]:
    index, search = open_index(case.path), HybridRetriever(str(case.path))
    asked = questions(case.texts)
    vectors = [index.vector_of(question) for question in asked]
    calls: Mapping[str, Callable[[int], Any]] = {
        "hybrid": lambda number: search(asked[number]),
        "Chroma": lambda number: index._parts.store.query(vectors[number], NEIGHBOURS),
    }
    for call in calls.values():
        call(0)
    clocks = {"ms": time.perf_counter, "CPU ms": time.process_time}
    spent = {(name, clock): np.full(len(asked), np.inf) for name in calls for clock in clocks}
    for _, number in product(range(TURNS), range(len(asked))):
        for name, call in calls.items():
            began = {clock: read() for clock, read in clocks.items()}
            call(number)
            for clock, read in clocks.items():
                best = spent[name, clock]
                best[number] = min(best[number], 1000 * (read() - began[clock]))
    return {
        f"{name} {clock} p{which}": float(np.percentile(times, which))
        for (name, clock), times in spent.items()
        for which in (50, 95)
    }


def checked(case: Case) -> dict[str, float]:
    began = time.perf_counter()
    sound = verify(case.path).sound
    return {"seconds": time.perf_counter() - began, "sound": sound}


def step(name: str, case: Case) -> dict[str, float]:
    """Do one step here; megabytes of peak memory beside what it came to."""
    steps: dict[str, Callable[[Case], dict[str, float]]] = {
        "ingest": lambda case: ingested(case, 0),
        "first": first,
        "latency": latency,
        "change": lambda case: ingested(case, int(time.time())),
        "upsert": upserted,
        "verify": checked,
    }
    loaded = peak()
    return {**steps[name](case), "loaded": loaded, "peak": peak()}


def peak() -> float:
    """Peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(name: str, case: Case) -> dict[str, float]:
    """Do one step in a process of its own."""
    command = [sys.executable, __file__, "--in-process", name, "--texts", case.texts,
               "--sizes", str(case.count), "--dims", str(case.dims)]  # fmt: skip
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    done: dict[str, float] = json.loads(printed.splitlines()[-1])
    print(f"  {name}: {done}", file=sys.stderr, flush=True)
    return done


def disk(path: Path) -> dict[str, int]:
    """Return the megabytes of each part of an index."""
    parts = {
        part.name: sum(file.stat().st_size for file in [part, *part.rglob("*")] if file.is_file())
        for part in path.iterdir()
    }
    return {name: round(size / 1e6) for name, size in parts.items() if size > 1e6}


def row(case: Case, steps: Sequence[str]) -> str:
    """Return a line of the table; a step that is left out has no figure."""
    made = None if case.path.exists() else apart("ingest", case)
    sizes = disk(case.path)
    parts = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    found = {name: apart(name, case) for name in steps}
    times = found.get("latency", {})
    cells = [
        f"{case.count:,}",
        str(case.dims),
        f"{made['written'] / made['seconds']:,.0f}" if made else "",
        f"{1000 * made['processor'] / made['written']:.2f}" if made else "",
        f"{made['peak']:,.0f}" if made else "",
        f"{sum(sizes.values()):,} ({parts})",
        _said(found, "first", "{seconds:.2f}"),
        *(f"{times[f'{who} p50']:.1f} / {times[f'{who} p95']:.1f}" if times else ""
          for who in ("hybrid ms", "hybrid CPU ms", "Chroma ms", "Chroma CPU ms")),
        _said(found, "change", "{seconds:.0f} ({written:,.0f} written)"),
        _said(found, "upsert", "{seconds:.1f} ({written:,.0f} written)"),
        _said(found, "verify", "{seconds:.0f} ({peak:,.0f})"),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _said(found: Mapping[str, Mapping[str, float]], step: str, form: str) -> str:
    return form.format(**found[step]) if step in found else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dims", type=int, default=64)
    parser.add_argument("--texts", choices=(DRAWN, NATURAL), default=DRAWN)
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=STEPS)
    parser.add_argument("--in-process", help="do this step alone, in this process")
    options = parser.parse_args()
    cases = [Case(options.texts, size, options.dims) for size in options.sizes]
    if options.in_process:
        print(json.dumps(step(options.in_process, cases[0])))
        return
    rows = [row(case, options.steps) for case in cases]
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    print("\n".join(rows))
    print(f"load average of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
