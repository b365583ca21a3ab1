"""Replaying 1,000 configurations over 300 questions against running them live: the ratio.

    python benchmarks/replay.py [--configurations 1000] [--questions 300] [--live 20]

SciFact's corpus under the hash embedder, so that no model is timed. Both sides do the same: gather,
rerank by MaxSim, fuse, cut and score nDCG@10. All configurations are replayed and timed; live, each
of a sample is run over a sample of the questions, and the time of one is multiplied. Exits with 1
if replaying takes more than a hundredth, or if a live ranking differs from the replayed one.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, indexed, questions_of  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.retrieval.labels import label  # noqa: E402
from ragwright.optimize.retrieval.relevance import Relevance  # noqa: E402
from ragwright.optimize.retrieval.replay import LabelledCandidates  # noqa: E402
from ragwright.optimize.scoring.ranking import RankingMetric  # noqa: E402
from ragwright.programs import Knobs, KnobValues, RerankRAG  # noqa: E402
from ragwright.programs.candidates import Candidates  # noqa: E402
from ragwright.programs.selection import select  # noqa: E402
from ragwright.retrievers.index import open_index  # noqa: E402

METRIC = RankingMetric.parse("ndcg@10")
LIVE_QUESTIONS = 15


def configurations(count: int) -> list[KnobValues]:
    draw = random.Random(0)
    return [
        KnobValues(
            weight_dense=round(draw.uniform(0.05, 1), 2),
            weight_bm25=round(draw.random(), 2),
            weight_maxsim=draw.choice([0.0, round(draw.random(), 2)]),
            fusion=draw.choice(["convex", "rrf"]),
            rrf_constant=draw.choice([10, 60, 100]),
            depth_dense=draw.choice([10, 50, 100]),
            depth_bm25=draw.choice([10, 50, 100]),
            rerank_depth=draw.choice([10, 50, 100]),
            k=10,
            context_tokens=200_000,
        )
        for _ in range(count)
    ]


def fetched(path: Path, questions: Sequence[Question]) -> tuple[LabelledCandidates, float]:
    """Return the questions' candidates with their labels, and the seconds that searching took."""
    texts, index = [question.question for question in questions], open_index(path)
    retriever = RerankRAG(str(path)).retriever
    started = time.perf_counter()
    candidates = Candidates.stack([retriever.gather(text) for text in texts])
    seconds = time.perf_counter() - started
    return LabelledCandidates(
        candidates, Relevance.of(label(questions, index.chunks()), candidates)
    ), seconds


def live_seconds(
    path: Path, ways: Sequence[KnobValues], questions: Sequence[str], pool: LabelledCandidates
) -> tuple[float, int]:
    """Seconds for one question under one configuration, and how many rankings differ."""
    knobs = Knobs()
    retriever = RerankRAG(str(path), knobs=knobs).retriever
    wanted = [select(pool.candidates, way) for way in ways]
    different, started = 0, time.perf_counter()
    for way, ranking in zip(ways, wanted, strict=True):
        knobs.values = way
        for row, question in enumerate(questions):
            ids = [pool.candidates.ids[row][c] for c in ranking.columns[row] if c >= 0]
            different += retriever(question).ids != ids
    return (time.perf_counter() - started) / (len(ways) * len(questions)), different


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configurations", type=int, default=1000)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--live", type=int, default=20, help="configurations that are run live")
    options = parser.parse_args()
    if not (DATA / "scifact").is_dir():
        print(f"scifact: not at {DATA / 'scifact'}, nothing to do (set RAG_DATA)")
        return 0
    path, _ = indexed("scifact", embedder="hash")
    questions = questions_of(DATA / "scifact")[: options.questions]
    texts = [question.question for question in questions]
    table, searching = fetched(path, questions)
    ways = configurations(options.configurations)
    started = time.perf_counter()
    for way in ways:
        table.scores(way, METRIC)
    replayed = time.perf_counter() - started
    one, different = live_seconds(path, ways[: options.live], texts[:LIVE_QUESTIONS], table)
    live = one * len(ways) * len(texts)
    print(f"{len(ways)} configurations, {len(texts)} questions, {open_index(path).count} chunks")
    print(f"pool {searching:.1f} s once; replay {replayed:.1f} s")
    print(f"live {1000 * one:.1f} ms a question, {live:.0f} s for all; {different} rankings differ")
    whole = live / (replayed + searching)
    print(f"replay / live = 1 / {live / replayed:.0f}; with the pool 1 / {whole:.0f}")
    return int(live < 100 * replayed or different > 0)


if __name__ == "__main__":
    sys.exit(main())
