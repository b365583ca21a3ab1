"""What compressing token vectors costs: MaxSim over stored vectors against MaxSim over float32.

    python benchmarks/token_vectors.py [--questions 300] [--sets scifact squad]

Reads BEIR folders below $RAG_DATA (default ../shared/data): the whole corpus, one passage a
document, and a fixed sample of questions. The 50 best of dense and BM25, fused with equal weights,
are ordered by MaxSim alone, so that nothing else hides a loss. All ways but the last start from the
same vectors, computed in float32; the last is what an index made with default settings holds. The
interval is that of the paired difference from float32; "same" is the share of float32's first 10
that the other way has among its first 10.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, indexed, sample_of  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.scoring.ranking import ndcg  # noqa: E402
from ragwright.optimize.scoring.statistics import paired_gain  # noqa: E402
from ragwright.programs import HybridRetriever, KnobValues  # noqa: E402
from ragwright.programs.selection import shortlist  # noqa: E402
from ragwright.retrievers.embedding import EngineSettings, Floats, load_embedder  # noqa: E402
from ragwright.retrievers.index import Index, open_index  # noqa: E402
from ragwright.retrievers.late import TokenVectors  # noqa: E402
from ragwright.retrievers.token_codes import (  # noqa: E402
    TokenSettings,
    dequantize,
    draw_rotation,
    quantize,
)

FUSED = KnobValues(rerank_depth=50, k=10)
FLOAT32 = EngineSettings(backend="openvino", precision="float32")
CUTOFF = 10
PROJECTED = 128
KEPT: tuple[dict[str, int], ...] = (
    {"bits": 4}, {"bits": 2}, {"bits": 1}, {"bits": 4, "pool": 2}, {"bits": 2, "pool": 2},
    {"bits": 4, "pool": 4}, {"bits": 1, "pool": 2},
)  # fmt: skip
"""Settings under `[index.tokens]`; the first are the default."""

Score = Callable[[Question, Floats, Sequence[str]], Floats]
"""A question, its token vectors and ids of passages in, one score for each passage out."""


@dataclass(frozen=True)
class Way:
    """A manner of keeping token vectors, and the bytes that it takes for one."""

    name: str
    bytes: int
    score: Score


def maxsim(query: Floats, rows: Floats) -> float:
    return float((rows @ query.T).max(axis=0).mean()) if len(rows) else 0.0


def int8(rows: Floats) -> Floats:
    """Round to 8 bits with one scale for each vector, and back."""
    scale = np.abs(rows).max(axis=1, keepdims=True) / 127
    return np.round(rows / scale) * scale


def product(
    vectors: dict[str, Floats], dimension: int, settings: TokenSettings, folder: Path
) -> Way:
    """Keep vectors as an index of these settings does."""
    bits, pool = settings.bits, settings.pool
    stored = TokenVectors.create(folder / f"{bits}-{pool}", dimension, settings)
    spans = dict(zip(vectors, stored.write(0, 0, list(vectors.values())), strict=True))

    def score(_: Question, query: Floats, ids: Sequence[str]) -> Floats:
        return stored.maxsim(query, 0, [spans[id] for id in ids])

    return Way(f"bits = {bits}, pool = {pool}", dimension * bits // 8 // pool, score)


def ways_over(vectors: dict[str, Floats], index: Index, folder: Path) -> list[Way]:
    """Return the ways to keep these passages' float32 token vectors."""
    dimension = next(iter(vectors.values())).shape[1]
    rotation = draw_rotation(dimension)

    def through(pack: Callable[[Floats], Floats]) -> Score:
        return lambda _, query, ids: np.array([maxsim(query, pack(vectors[id])) for id in ids])

    def projected(question: Question, query: Floats, ids: Sequence[str]) -> Floats:
        turn = rotation[:, :PROJECTED] * np.float32(np.sqrt(dimension / PROJECTED))
        rows = (dequantize(quantize(vectors[id] @ turn)) for id in ids)
        return np.array([maxsim(query @ turn, row) for row in rows])

    def held(question: Question, _: Floats, ids: Sequence[str]) -> Floats:
        return np.array(index.maxsim(question.question, ids))

    half = dimension // 2
    kept = [product(vectors, dimension, TokenSettings(**one), folder) for one in KEPT]
    return [
        Way("float32", 4 * dimension, through(lambda rows: rows)),
        Way("int8", dimension + 4, through(int8)),
        *kept,
        Way("4 bits, not rotated", half, through(lambda rows: dequantize(quantize(rows)))),
        Way(f"4 bits, projected to {PROJECTED}", PROJECTED // 2, projected),
        Way("4 bits as an index holds them", half, held),
    ]


def candidates_of(path: Path, questions: Sequence[Question]) -> list[list[str]]:
    retriever = HybridRetriever(str(path))
    found = [retriever.gather(question.question) for question in questions]
    columns = [shortlist(one, FUSED)[0] for one in found]
    return [
        [one.ids[0][column] for column in row if column >= 0]
        for one, row in zip(found, columns, strict=True)
    ]


def report(name: str, count: int) -> None:
    path, _ = indexed(name)
    questions = sample_of(DATA / name, count)
    index, candidates = open_index(path), candidates_of(path, questions)
    wanted = sorted({id for ids in candidates for id in ids})
    passages = index.passages(wanted)
    embedder = load_embedder(engine=FLOAT32)
    tokens = embedder.encode([str(passage) for passage in passages], tokens=True).tokens or ()
    asked = embedder.encode([one.question for one in questions], tokens=True).tokens or ()
    vectors = {passage.id: rows for passage, rows in zip(passages, tokens, strict=True)}
    documents = {passage.id: str(passage.metadata["document"]) for passage in passages}
    mean = sum(map(len, tokens)) / len(tokens)
    print(f"\n{name}: {len(questions)} questions, {len(passages)} passages of {mean:.0f} tokens")
    print(f"float32: {embedder.engine}; the index: {load_embedder().engine}\n", flush=True)
    with TemporaryDirectory() as folder:
        ways = ways_over(vectors, index, Path(folder))
        triples = list(zip(questions, asked, candidates, strict=True))
        table_of(ways, triples, documents)


def table_of(
    ways: Sequence[Way],
    triples: Sequence[tuple[Question, Floats, list[str]]],
    documents: dict[str, str],
) -> None:
    """Print one row for each way; the first is what the others are compared with."""
    print("| token vectors | bytes a token | nDCG@10 | against float32 | 95 % interval | same |")
    print("|---|---|---|---|---|---|")
    ideal = np.zeros((len(triples), CUTOFF))
    for row, (question, _, _) in zip(ideal, triples, strict=True):
        row[: len(question.documents)] = 1
    bests, scores = [], []
    for way in ways:
        best = []
        for question, query, ids in triples:
            order = np.argsort(-way.score(question, query, ids), kind="stable")[:CUTOFF]
            best.append([ids[place] for place in order])
        gains = np.zeros((len(triples), CUTOFF))
        for row, top, (question, _, _) in zip(gains, best, triples, strict=True):
            row[: len(top)] = [documents[id] in question.documents for id in top]
        bests.append(best)
        scores.append(ndcg(gains, ideal, CUTOFF))
        gain = paired_gain(
            scores[0], scores[-1], groups=[question.group for question, _, _ in triples]
        )
        same = np.mean([len({*a} & {*b}) / len(a) for a, b in zip(bests[0], best, strict=True)])
        print(
            f"| {way.name} | {way.bytes} | {scores[-1].mean():.4f} | {gain.gain:+.4f} "
            f"| {gain.low:+.4f} to {gain.high:+.4f} | {same:.3f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--sets", nargs="*", default=["scifact", "squad"])
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; {' '.join(sys.argv)}")
    for name in options.sets:
        if (DATA / name).is_dir():
            report(name, options.questions)
        else:
            print(f"{name}: not at {DATA / name}, left out (set RAG_DATA)")


if __name__ == "__main__":
    main()
