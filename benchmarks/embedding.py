"""Ingest against the plain way, in one run: how many times faster, and at what cost in quality.

The plain way is `SentenceTransformer.encode` and Chroma's `collection.add`; ours is `ingest` as it
comes, which also writes a keyword index, token vectors and a ledger, without its cache of vectors.
Overlap@10 is the part of the exact top 10 by the plain way's vectors, float32, that is also in the
exact top 10 by the index's, the questions embedded by the same engine. The ratio of processor time
is there because other programs disturb it less than that of wall-clock time.

    python benchmarks/embedding.py [--passages 10000] [--questions 300]
    python benchmarks/embedding.py --alone [--passages 1000]

With `--alone`, what an ingest costs beside embedding alone (vectors and token vectors, which is
most of it): without the cache of vectors, with an empty one, and all of that again beside as many
busy neighbours as there are cores; the three take turns.

Data: RAG_DATA (default ../shared/data), folders scifact, 2wikimultihopqa-1000 and squad.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, lines  # noqa: E402
from ragwright.retrievers.chunking import ChunkSettings  # noqa: E402
from ragwright.retrievers.embedding import MINILM, EngineSettings, Floats, load_embedder  # noqa: E402
from ragwright.retrievers.embedding.base import Integers  # noqa: E402
from ragwright.retrievers.embedding.files import find_model  # noqa: E402
from ragwright.retrievers.index import IndexSettings, open_index  # noqa: E402
from ragwright.retrievers.ingest import ingest  # noqa: E402
from ragwright.retrievers.types import Document  # noqa: E402

SETS = ("scifact", "2wikimultihopqa-1000", "squad")
WHOLE = ChunkSettings(size=100_000)
EMBEDDING = "embedding alone"
BATCH = 256
TURNS = 2
ENGINES = (
    EngineSettings(),
    EngineSettings(backend="openvino", precision="int8"),
    EngineSettings(backend="onnx"),
    EngineSettings(backend="torch"),
)


def read_passages(count: int) -> list[Document]:
    """Return passages of all sets, mixed by a fixed seed."""
    found = [
        Document(f"{name}/{row['_id']}", f"{row.get('title', '')}\n{row['text']}".strip())
        for name in SETS
        for row in lines(DATA / name / "corpus.jsonl")
    ]
    random.Random(0).shuffle(found)
    return found[:count]


def read_questions(count: int) -> list[str]:
    rows = (
        itertools.islice(lines(DATA / name / "queries.jsonl"), count // len(SETS)) for name in SETS
    )
    return [row["text"] for row in itertools.chain.from_iterable(rows)]


@dataclass(frozen=True)
class Run:
    """What an ingest took, the model loaded before, and each question's exact top 10."""

    seconds: float
    cpu: float
    best: Integers


def plain(passages: list[Document], questions: list[str], folder: Path) -> Run:
    import chromadb
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(find_model(MINILM).folder))
    model.encode(["warm"])
    collection = chromadb.PersistentClient(str(folder)).create_collection("plain")
    kept = []
    started, cpu = time.perf_counter(), time.process_time()
    for batch in batches(passages, 1000):
        vectors = model.encode([one.text for one in batch])
        collection.add(
            ids=[one.id for one in batch],
            embeddings=vectors,
            documents=[one.text for one in batch],
        )
        kept.append(vectors)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return Run(seconds, cpu, best(model.encode(questions), np.concatenate(kept)))


def ours(
    passages: list[Document], questions: list[str], folder: Path, engine: EngineSettings
) -> Run:
    embedder = load_embedder(engine=engine)
    embedder.encode(["warm"])
    settings = IndexSettings(engine=engine, chunking=WHOLE)
    started, cpu = time.perf_counter(), time.process_time()
    ingest(passages, folder, settings)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    index = open_index(folder)
    ids = {chunk.document_id: chunk.id for chunk in index.chunks()}
    stored = index.vectors(list(ids.values()))
    vectors = np.stack([stored[ids[one.id]] for one in passages])
    return Run(seconds, cpu, best(embedder.encode(questions).vectors, vectors))


def alone(passages: list[Document], folder: Path) -> None:
    """Print processor milliseconds a passage, with and without busy neighbours."""
    for busy in (0, os.cpu_count() or 1):
        spin = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            spent = [_turn(passages, folder / f"{busy}-{turn}") for turn in range(TURNS)]
        finally:
            for one in spin:
                one.kill()
                one.wait()
        least = {name: min(turn[name] for turn in spent) for name in spent[0]}
        for name, seconds in least.items():
            each, ratio = 1000 * seconds / len(passages), seconds / least[EMBEDDING]
            print(f"| {busy} | {name} | {each:.2f} | {ratio:.2f} |", flush=True)


def _turn(passages: list[Document], folder: Path) -> dict[str, float]:
    """Processor seconds of embedding alone, and of ingests without and with a new cache."""
    embedder, texts = load_embedder(), [one.text for one in passages]

    def embed() -> None:
        for start in range(0, len(texts), BATCH):
            embedder.encode(texts[start : start + BATCH], tokens=True)

    def put(name: str, gib: str) -> None:
        os.environ |= {"RAGWRIGHT_CACHE": str(folder / "cache"), "RAGWRIGHT_CACHE_GIB": gib}
        ingest(passages, folder / name, IndexSettings(chunking=WHOLE))

    ways = {
        EMBEDDING: embed,
        "ingest, no cache": lambda: put("without", "0"),
        "ingest, empty cache": lambda: put("with", "4"),
    }
    spent = {}
    for name, way in ways.items():
        cpu = time.process_time()
        way()
        spent[name] = time.process_time() - cpu
    return spent


def batches(passages: list[Document], size: int) -> Iterator[list[Document]]:
    yield from (passages[start : start + size] for start in range(0, len(passages), size))


def best(asked: Floats, vectors: Floats) -> Integers:
    """Return each question's exact top 10, shape (n, 10)."""
    return np.argsort(-(asked @ vectors.T), axis=1)[:, :10]


def overlap(some: Integers, others: Integers) -> float:
    pairs = zip(some, others, strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in pairs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--alone", action="store_true", help="against embedding alone")
    options = parser.parse_args()
    if options.alone:
        load_embedder().encode(["warm"], tokens=True)
        print("| busy neighbours | way | CPU ms a passage | times embedding alone |")
        print("|---" * 4 + "|")
        with tempfile.TemporaryDirectory() as temporary:
            alone(read_passages(options.passages), Path(temporary))
        return
    os.environ["RAGWRIGHT_CACHE_GIB"] = "0"
    passages, questions = read_passages(options.passages), read_questions(options.questions)
    print(f"{len(passages)} passages, {len(questions)} questions, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as temporary:
        base = plain(passages, questions, Path(temporary) / "plain")
        print(f"plain: {len(passages) / base.seconds:.1f} passages a second", flush=True)
        for number, engine in enumerate(ENGINES):
            run = ours(passages, questions, Path(temporary) / str(number), engine)
            name = load_embedder(engine=engine).engine
            rate, ratio = len(passages) / run.seconds, base.seconds / run.seconds
            share = overlap(base.best, run.best)
            print(
                f"ours, {name}: {rate:.1f} a second, {ratio:.2f} x "
                f"({base.cpu / run.cpu:.2f} x in processor time), overlap@10 {share:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
