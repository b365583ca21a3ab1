"""Ingest short passages with the hash embedder; print peak memory, rate and disk.

python benchmarks/ingest_memory.py [PASSAGES]      (default 200000)
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.index import IndexSettings
from ragwright.retrievers.ingest import IngestProgress, ingest
from ragwright.retrievers.types import Document


def documents(count: int) -> Iterator[Document]:
    drawn = np.random.default_rng(0)
    for number in range(count):
        words = " ".join(f"w{word}" for word in drawn.zipf(1.2, 20) % 30_000)
        yield Document(f"d{number}", words, metadata={"number": number})


def peak() -> float:
    """Peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(done: IngestProgress) -> None:
    if done.documents % 20_480 < 512:
        print(f"{done.documents} documents, peak {peak():.0f} MB", flush=True)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    settings = IndexSettings(embedder="hash", chunking=ChunkSettings(size=256))
    print(f"at the start: {peak():.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        done = ingest(documents(count), folder, settings, progress=show)
        print(f"{done.chunks_written / done.seconds:.0f} passages/s, peak {peak():.0f} MB")
        for part in sorted(Path(folder).iterdir()):
            files = part.rglob("*") if part.is_dir() else [part]
            size = sum(file.stat().st_size for file in files if file.is_file())
            print(f"  {part.name}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
