"""A collection that somebody made with Chroma alone; what attaching it gains.

    python benchmarks/attached.py [--passages 400] [--questions 300]

Takes SQuAD's first paragraphs below $RAG_DATA (default ../shared/data), makes a plain Chroma
collection of them as a user would (all-MiniLM-L6-v2, Chroma's own distance), attaches it, and
prints nDCG@10 of Chroma's own search, and of the index's. Ends with an error if a row was written,
or if hybrid search is not above Chroma's own.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from beir import DATA, documents_of, questions_of

from ragwright.optimize.questions.data import Question
from ragwright.programs import HybridRetriever, MaxSim, RerankRetriever
from ragwright.retrievers import ChromaRetriever, Document, KeywordRetriever
from ragwright.retrievers.embedding import MINILM, load_embedder

Search = Callable[[str], Sequence[str]]
"""A question in, ids of documents out, best first."""


def of_chroma(folder: Path, documents: Sequence[Document]) -> Any:
    """Return a plain collection of these documents, filled through Chroma alone."""
    made = chromadb.PersistentClient(str(folder)).create_collection(
        "squad", embedding_function=None
    )
    vectors = load_embedder(MINILM).encode([one.text for one in documents]).vectors
    made.add(ids=[one.id for one in documents], embeddings=vectors,
             documents=[one.text for one in documents])  # fmt: skip
    return made


def ndcg(questions: Sequence[Question], search: Search) -> list[float]:
    """Return nDCG@10 of each question, with binary relevance."""
    found = []
    for question in questions:
        gold, ids = set(question.documents), list(search(question.question))[:10]
        gain = sum(1 / math.log2(2 + place) for place, id in enumerate(ids) if id in gold)
        best = sum(1 / math.log2(2 + place) for place in range(min(10, len(gold))))
        found.append(gain / best)
    return found


def of_stage(stage: Any) -> Search:
    return lambda text: [passage.document for passage in stage(text, k=10)]


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of a mean, by 10,000 resamples of the questions."""
    rows, drawn = np.array(differences), np.random.default_rng(0)
    means = rows[drawn.integers(0, len(rows), (10_000, len(rows)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=400)
    parser.add_argument("--questions", type=int, default=300)
    asked = parser.parse_args()
    documents = documents_of(DATA / "squad")[: asked.passages]
    held = {one.id for one in documents}
    fitting = [one for one in questions_of(DATA / "squad") if held.issuperset(one.documents)]
    questions = random.Random(0).sample(fitting, min(asked.questions, len(fitting)))
    with tempfile.TemporaryDirectory() as folder:
        made = of_chroma(Path(folder) / "db", documents)
        before = made.get(include=["embeddings", "documents", "metadatas"])
        started = time.perf_counter()
        dense = ChromaRetriever.attach(made, Path(folder) / "index", embedder=MINILM)
        print(f"attached {len(documents)} passages in {time.perf_counter() - started:.1f} s")
        embedder, path = load_embedder(MINILM), dense.path

        def own(text: str) -> Sequence[str]:
            vector = embedder.encode([text]).vectors
            return list(made.query(query_embeddings=vector, n_results=10)["ids"][0])

        ways: dict[str, Search] = {
            "Chroma's own query": own,
            "attached, dense": of_stage(dense),
            "attached, keyword": of_stage(KeywordRetriever(path)),
            "attached, hybrid": of_stage(HybridRetriever(path)),
            "attached, hybrid + MaxSim": of_stage(
                RerankRetriever(HybridRetriever(path), MaxSim(path))
            ),
        }
        scores = {name: ndcg(questions, search) for name, search in ways.items()}
        after = made.get(include=["embeddings", "documents", "metadatas"])
    base = scores["Chroma's own query"]
    print(f"nDCG@10, {len(questions)} questions; less Chroma's own, with the 95 % interval")
    for name, found in scores.items():
        less = [a - b for a, b in zip(found, base, strict=True)]
        low, high = interval(less)
        print(f"{name:28} {np.mean(found):.4f}  {np.mean(less):+.4f} ({low:+.4f} to {high:+.4f})")
    same = all(
        np.array_equal(before[key], after[key]) for key in ("ids", "embeddings", "documents")
    )
    print("nothing in the collection was written" if same else "THE COLLECTION CHANGED")
    if not same or np.mean(scores["attached, hybrid"]) <= np.mean(base):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
