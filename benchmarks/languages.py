"""Keyword search in any language against 20 lines of BM25, in one run: nDCG@10 by set.

    python benchmarks/languages.py                          # the shared XQuAD sets
    python benchmarks/languages.py FOLDER... --questions 300

A folder holds corpus.jsonl, queries.jsonl and qrels.tsv as BEIR's do. The plain way is BM25 (k1 =
1.2, b = 0.75) over lower-cased words, or over character bigrams where a text has few spaces. `+-`
is half of the 95 % interval of the difference to the better of these, over the questions.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
import tempfile
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, documents_of, questions_of  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.retrievers.keyword import KeywordIndex  # noqa: E402
from ragwright.retrievers.types import Document  # noqa: E402

Search = Callable[[str], Sequence[str]]
DEPTH = 10


def plain_words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).lower())


def plain_bigrams(text: str) -> list[str]:
    letters = [c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum()]
    return [first + second for first, second in pairwise(letters)]


def plain_bm25(documents: Sequence[Document], terms: Callable[[str], list[str]]) -> Search:
    """BM25 as in the textbook: what keyword search is to be as good as."""
    held = [Counter(terms(document.text)) for document in documents]
    lengths = [sum(counts.values()) for counts in held]
    mean = sum(lengths) / len(lengths)
    postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, counts in enumerate(held):
        for term, count in counts.items():
            postings[term].append((place, count))

    def search(query: str) -> Sequence[str]:
        scores: Counter[int] = Counter()
        for term in terms(query):
            found = postings.get(term, ())
            idf = math.log(1 + (len(held) - len(found) + 0.5) / (len(found) + 0.5))
            for place, count in found:
                length = 1.2 * (0.25 + 0.75 * lengths[place] / mean)
                scores[place] += idf * count * 2.2 / (count + length)  # type: ignore[assignment]
        return [documents[place].id for place, _ in scores.most_common(DEPTH)]

    return search


def ours(documents: Sequence[Document], folder: Path) -> tuple[Search, str, float]:
    """Keyword search as an index has it; with its languages, and documents a second."""
    index = KeywordIndex(folder, create=True)
    started = time.perf_counter()
    index.write((document.id, document.text, {}) for document in documents)
    speed = len(documents) / (time.perf_counter() - started)
    languages = ", ".join(index.languages) or "none"
    return (lambda query: list(index.query(query, DEPTH))), languages, speed


def ndcg(search: Search, questions: Sequence[Question]) -> np.ndarray:
    """nDCG@10 of each question; a document is right or not."""
    scores = []
    for question in questions:
        gains = [float(id in question.documents) for id in search(question.question)]
        ideal = [1.0] * min(DEPTH, len(question.documents))
        scores.append(_discounted(gains) / _discounted(ideal))
    return np.array(scores)


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


def measure(folder: Path, count: int) -> None:
    """Print one line of the table."""
    documents, questions = documents_of(folder, between="\n"), questions_of(folder)
    chosen = random.Random(0).sample(questions, min(count, len(questions)))
    with tempfile.TemporaryDirectory() as place:
        search, languages, speed = ours(documents, Path(place) / "keyword")
        found = ndcg(search, chosen)
    words = ndcg(plain_bm25(documents, plain_words), chosen)
    bigrams = ndcg(plain_bm25(documents, plain_bigrams), chosen)
    better = found - (words if words.mean() > bigrams.mean() else bigrams)
    half = 1.96 * better.std() / math.sqrt(len(better))
    print(
        f"{folder.name:24} {len(documents):6} {len(chosen):5} {found.mean():8.3f} "
        f"{words.mean():8.3f} {bigrams.mean():8.3f} {better.mean():+8.3f} {half:6.3f} "
        f"{languages:16} {speed:8.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--questions", type=int, default=300)
    given = parser.parse_args()
    print(
        f"{'set':24} {'docs':>6} {'n':>5} {'ours':>8} {'words':>8} "
        f"{'bigrams':>8} {'better':>8} {'+-':>6} {'stemmed':16} {'docs/s':>8}"
    )
    for folder in given.folders or [DATA / "xquad-zh", DATA / "xquad-de"]:
        measure(folder, given.questions)


if __name__ == "__main__":
    main()
