"""Copy an index's vectors Chroma -> Qdrant -> Chroma and print the proofs.

    python benchmarks/index_copy.py [PASSAGES]      (default 20000)

Embedded Qdrant waits for the disk after every row; give TMPDIR=/dev/shm to see it without.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np

from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.index import IndexSettings
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.migrate import copy_collection
from ragwright.retrievers.types import Document


def documents(count: int) -> Iterator[Document]:
    drawn = np.random.default_rng(0)
    for number in range(count):
        words = " ".join(f"w{word}" for word in drawn.zipf(1.2, 20) % 30_000)
        yield Document(f"d{number}", words, metadata={"number": number, "half": number / 2})


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        settings = IndexSettings(embedder="hash", chunking=ChunkSettings(size=256))
        done = ingest(documents(count), f"{folder}/index", settings)
        print(f"{done.chunks_written} passages in {done.seconds:.1f} s", flush=True)
        places = [f"chroma:{folder}/index/chroma", f"qdrant:{folder}/q", f"chroma:{folder}/back"]
        for source, target in (places[:2], places[1:]):
            began = time.perf_counter()
            report = copy_collection(source, target)
            print(
                f"{source} -> {target}: {time.perf_counter() - began:.1f} s\n  {report}", flush=True
            )


if __name__ == "__main__":
    main()
