"""CPU milliseconds of a hybrid search with filters of every selectivity, beside one without.

    python benchmarks/filters.py [--count 100000] [--questions 40] [--embedder hash:384]

Makes an index of drawn texts below .rag/benchmarks once, then asks each question without a filter
and with filters that a half, 10 %, 1 %, 0.1 % and one of the passages pass, in turns; "from" and
"between" ask for an order, of a number that is another one in every passage. "new" is the
first search with a filter that was never asked, "again" another one with it. "Chroma" is its own
filtered search alone, for the dense part. "exact" is the share of the 10 nearest that pass, by
comparing all of them, that the search finds, and that Chroma finds. Medians over the questions of
the calling thread's CPU time, and in brackets the ratio to no filter.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ragwright.programs import HybridRetriever  # noqa: E402
from ragwright.retrievers.filters import parse_filter  # noqa: E402
from ragwright.retrievers.index import Index, IndexSettings, open_index  # noqa: E402
from ragwright.retrievers.ingest import ingest  # noqa: E402
from ragwright.retrievers.types import Document  # noqa: E402

WORDS = 20_000
NEAREST = 10
SHARES = {"half": 2, "10 %": 10, "1 %": 100, "0.1 %": 1000}


def documents(count: int) -> Iterator[Document]:
    drawn = np.random.default_rng(0)
    for number in range(count):
        text = words(drawn, 30)
        facts = {name: int(drawn.integers(every)) for name, every in SHARES.items()}
        yield Document(str(number), text, metadata={**facts, "one": number})


def words(drawn: np.random.Generator, count: int) -> str:
    """Draw words as frequent as in texts: few of them often."""
    return " ".join(f"w{int(n)}" for n in drawn.zipf(1.2, count) % WORDS)


def asked_for(number: int, count: int) -> dict[str, dict[str, Any]]:
    """Return the filters of a question, by what passes them."""
    drawn = number * 7919
    equal = {name: {name: drawn % every} for name, every in SHARES.items()}
    first = drawn % (count // 2)
    return {
        **equal,
        "one": {"one": drawn % count},
        "from, half": {"one": {"$gte": count // 2 + number}},
        "between, 1 %": {"one": {"$gte": first, "$lt": first + count // 100}},
    }


def milliseconds(call: Callable[[], Any]) -> float:
    began = time.thread_time()
    call()
    return 1000 * (time.thread_time() - began)


def share(index: Index, question: str, where: dict[str, Any], exact: set[str]) -> list[float]:
    """Return the share of the nearest that the index finds, and that its store does."""
    vector, store = index._encoded(question).vectors[0], index._parts.store
    found = (
        index.dense(question, NEAREST, where),
        store.query(vector, NEAREST, parse_filter(where)),
    )
    return [len(set(one) & exact) / max(1, len(exact)) for one in found]


def nearest(index: Index, question: str, where: dict[str, Any]) -> set[str]:
    """Compare all vectors that pass with the question's."""
    own, asked = index._parts._own.now, parse_filter(where)
    assert asked is not None
    keys = index._parts.keyword.keys(asked, index.count)
    return set(own.nearest(index._encoded(question).vectors[0], NEAREST, keys) or ())


def show(count: int, plain: list[float], spent: dict[str, list[tuple[float, ...]]]) -> None:
    base = statistics.median(plain)
    print(f"{count:,} passages, {len(plain)} questions; no filter {base:.1f} ms")
    print(f"{'passes':14}{'new':>16}{'again':>16}{'Chroma alone':>16}{'exact':>8}{'Chroma':>8}")
    for name, rows in spent.items():
        middle = [statistics.median(column) for column in list(zip(*rows, strict=True))[:3]]
        found = [statistics.mean(column) for column in list(zip(*rows, strict=True))[3:]]
        shown = "".join(f"{f'{ms:.1f} ({ms / base:.1f})':>16}" for ms in middle)
        print(f"{name:14}{shown}{found[0]:8.3f}{found[1]:8.3f}")
    print(f"load average of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--embedder", default="hash:384")
    options = parser.parse_args()
    path = ROOT / f".rag/benchmarks/filters-{options.count}-{options.embedder.replace(':', '-')}"
    if not path.exists():
        ingest(documents(options.count), path, IndexSettings(embedder=options.embedder))
    index, search = open_index(path), HybridRetriever(str(path))
    drawn = np.random.default_rng(1)
    questions = [words(drawn, 8) for _ in range(options.questions)]
    for question in questions:
        index.dense(question, 1)
        search(question)
        search(question, where={"half": 0})
    plain: list[float] = []
    spent: dict[str, list[tuple[float, ...]]] = {}
    for number, question in enumerate(questions):
        plain.append(milliseconds(lambda q=question: search(q)))
        vector = index._encoded(question).vectors[0]
        for name, passing in asked_for(number, options.count).items():
            # `number` in every filter: none was asked before, and what passes stays the same.
            where = {"$and": [passing, {"one": {"$ne": -1 - number}}]}
            times = [milliseconds(lambda q=question, w=where: search(q, where=w)) for _ in "12"]
            asked = parse_filter(where)
            store = milliseconds(lambda v=vector, a=asked: index._parts.store.query(v, 100, a))
            exact = nearest(index, question, where)
            spent.setdefault(name, []).append(
                (*times, store, *share(index, question, where, exact))
            )
    show(index.count, plain, spent)


if __name__ == "__main__":
    main()
