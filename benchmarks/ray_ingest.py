"""An ingest by one process, and by one, two and four workers of a Ray cluster on this machine.

    python benchmarks/ray_ingest.py [--passages 3840] [--workers 1 2 4] [--embedder slow|minilm]

`slow` is a model behind an API that takes 0.2 seconds for 16 texts, on loopback: workers wait for
it, so that their number counts and not that of the cores. `minilm` computes, so that it cannot gain
more than there are cores. No vector is cached. Every way ingests the same texts into a new folder;
starting the cluster and loading the embedder, which an ingest of 256 others does before, is told
apart. Prints passages per second, the ratios, the processor time that the one writer takes for a
passage, and whether the fingerprints agree.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = f"{os.environ.get('PYTHONPATH', '')}:{ROOT}"

import tests.outside.slow  # noqa: E402
from ragwright.retrievers.cluster import Crew, ray_cluster  # noqa: E402
from ragwright.retrievers.embedding import MINILM  # noqa: E402
from ragwright.retrievers.index import Index, IndexSettings  # noqa: E402
from ragwright.retrievers.ingest import ingest  # noqa: E402
from ragwright.retrievers.types import Document  # noqa: E402

EMBEDDERS = {"slow": "tests.outside.slow:Slow", "minilm": MINILM}
WORDS = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split()


@dataclass(frozen=True)
class Outcome:
    """One ingest.

    Attributes:
        start: Seconds until the cluster and its embedders were ready.
        seconds: Of the ingest.
        writer: Seconds of the processor that this process took for it.
        fingerprint: Of the index.
    """

    start: float
    seconds: float
    writer: float
    fingerprint: str


SERVER = """
import time
from tests.servers.slow_vectors import slow_vectors
with slow_vectors() as server:
    print(server.address, flush=True)
    time.sleep(86400)
"""


@contextmanager
def served() -> Iterator[str]:
    """Run the slow server as a process of its own, as a real one is; yields its address."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def passages(first: int, count: int) -> Iterator[Document]:
    """Documents of 60 words, a passage each."""
    for number in range(first, first + count):
        at = 7 * number % len(WORDS)
        text = " ".join([f"number {number}", *(WORDS + WORDS)[at : at + 60]])
        yield Document(f"document-{number}", text)


def measured(folder: Path, settings: IndexSettings, count: int, workers: int) -> Outcome:
    """Ingest with so many workers; 0 is this process alone."""
    began = time.perf_counter()
    crew: Crew | None
    with ray_cluster(workers) if workers else nullcontext() as crew:
        ingest(passages(10**6, 256), folder / "warm", settings, crew=crew)
        start, processor = time.perf_counter(), time.process_time()
        ingest(passages(0, count), folder / "index", settings, crew=crew)
        seconds, writer = time.perf_counter() - start, time.process_time() - processor
    index = Index(folder / "index")
    found = index.fingerprint
    index.close()
    return Outcome(start - began, seconds, writer, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=3840)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--embedder", choices=EMBEDDERS, default="slow")
    chosen = parser.parse_args()
    os.environ["RAGWRIGHT_CACHE_GIB"] = "0"
    settings = IndexSettings(embedder=EMBEDDERS[chosen.embedder])
    found: dict[int, Outcome] = {}
    with served() as os.environ[tests.outside.slow.ADDRESS]:
        for workers in (0, *chosen.workers):
            with tempfile.TemporaryDirectory() as folder:
                found[workers] = measured(Path(folder), settings, chosen.passages, workers)
    print(f"{chosen.passages} passages; {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}\n")
    print(
        "| workers | seconds | passages/s | against one worker | writer, ms a passage | start, s |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    one = found[chosen.workers[0]].seconds
    for workers, outcome in found.items():
        rate, writer = (chosen.passages / outcome.seconds, outcome.writer / chosen.passages)
        name = workers or "none: one process"
        print(f"| {name} | {outcome.seconds:.1f} | {rate:.0f} | {one / outcome.seconds:.2f} | "
              f"{1000 * writer:.1f} | {outcome.start:.1f} |")  # fmt: skip
    same = len({outcome.fingerprint for outcome in found.values()}) == 1
    print(f"\nFingerprints: {'equal' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
