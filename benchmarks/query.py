"""Milliseconds of one hybrid query in this process, beside the calls that it cannot do without.

    python benchmarks/query.py [--size 400] [--runs 300]

Indexes SciFact's abstracts below $RAG_DATA (default ../shared/data) under .rag/benchmarks, cut into
chunks of --size tokens; every question is encoded before. "parts" is 100 candidates each from
Chroma and from tantivy, and the texts of five: what fusing, checking and DSPy add is the rest. The
stages take turns, question by question. Prints medians of wall-clock time and of the calling
thread's CPU time, which other jobs disturb less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, indexed_in_chunks, sample_of  # noqa: E402
from ragwright.programs import HybridRetriever, Knobs, KnobValues, MaxSim, RerankRetriever  # noqa: E402
from ragwright.programs.knobs import POOL_DEPTH  # noqa: E402
from ragwright.retrievers.index import open_index  # noqa: E402

K = 5


def stages(path: str) -> dict[str, Callable[[str], Any]]:
    index, hybrid = open_index(path), HybridRetriever(path)

    def parts(question: str) -> object:
        found = [*index.dense(question, POOL_DEPTH), *index.keyword(question, POOL_DEPTH)]
        return index.passages(found[:K])

    knobs = Knobs(KnobValues(weight_maxsim=0.5))
    reranked = RerankRetriever(HybridRetriever(path, knobs=knobs), MaxSim(path), knobs=knobs)
    return {"parts": parts, "hybrid": hybrid, "hybrid + MaxSim of 50": reranked}


def timed(call: Callable[[str], Any], question: str) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.thread_time()
    call(question)
    spent = time.thread_time() - processor
    return 1000 * (time.perf_counter() - wall), 1000 * spent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--runs", type=int, default=300)
    options = parser.parse_args()
    path = indexed_in_chunks("scifact", options.size)
    questions = [one.question for one in sample_of(DATA / "scifact", options.runs)]
    calls = stages(path)
    for question in questions[:20]:
        calls["hybrid"](question)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for question in questions:
        open_index(path).dense(question, 1)
        for name, call in calls.items():
            spent[name].append(timed(call, question))
    print(f"{open_index(path).count:,} chunks, {len(questions)} questions, milliseconds (median)")
    for name, times in spent.items():
        wall, processor = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"  {name:24} {wall:5.2f}   CPU {processor:5.2f}")
    print(f"load average of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
