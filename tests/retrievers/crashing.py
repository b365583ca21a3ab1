"""A program for crash tests: ingests a collection in child processes and kills them.

It has everything imported and nothing open, so that a child starts at once.
Called as: crashing.py INDEX KILLS STORE PARENT_SIZE; prints the last version.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator

import chromadb.api.rust  # noqa: F401 - imported before forking

import ragwright.retrievers.ingest
import ragwright.retrievers.parts
from ragwright.retrievers.chunking import ChunkSettings, count_tokens
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.index import IndexSettings
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.stores import chroma  # noqa: F401
from ragwright.retrievers.types import Document

DOCUMENTS = 120
FULL_DISK, FINISHED = 3, 0
WORDS = [f"word{number}" for number in range(500)]


def settings(store: str = "", parent_size: int = 0) -> IndexSettings:
    chunking = ChunkSettings(size=32, parent_size=parent_size)
    return IndexSettings(embedder="hash", chunking=chunking, store=store)


def collection(version: int) -> Iterator[Document]:
    """The documents of a version: a third of them differ from those of the version before."""
    for number in range(DOCUMENTS):
        if (number + version) % 17 == 0:
            continue
        seen = version - (number + version) % 3
        drawn = random.Random(f"{number}-{seen}")
        text = " ".join(drawn.choices(WORDS, k=60))
        yield Document(f"document-{number}", text, metadata={"number": number})


def ingest_in_small_batches(path: str, version: int, how: IndexSettings) -> None:
    for module in (ragwright.retrievers.ingest, ragwright.retrievers.parts):
        vars(module)["CHUNKS_PER_BATCH"] = 24
    ingest(collection(version), path, how)


def start(path: str, version: int, how: IndexSettings) -> int:
    child = os.fork()
    if child:
        return child
    try:
        ingest_in_small_batches(path, version, how)
        status = FINISHED
    except IndexFault as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        status = FULL_DISK
    os._exit(status)


def kill_again_and_again(path: str, kills: int, how: IndexSettings) -> int:
    """Let children start over until so many were killed at work; return the last version."""
    drawn = random.Random(0)
    killed = version = 0
    longest = 0.2
    while killed < kills:
        began = time.monotonic()
        child = start(path, version, how)
        time.sleep(drawn.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            killed += 1
            # Let some come further: until the work of a version is done, it goes on.
            longest = min(1.5, longest * 1.05)
        else:
            version += 1
            longest = max(0.2, (time.monotonic() - began) * 0.9)
    return version


def main() -> None:
    path, kills, how = sys.argv[1], int(sys.argv[2]), settings(sys.argv[3], int(sys.argv[4]))
    count_tokens("loads the vocabulary")
    version = kill_again_and_again(path, kills, how) if kills else 0
    _, status = os.waitpid(start(path, version, how), 0)
    sys.stdout.write(f"{version}\n")
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
