"""Passages of 400 tokens, searched whole or by chunks of 80 tokens inside them: what it gains.

    python benchmarks/parents.py FOLDER

The sample of `make demo` (Python's language reference, 320 questions) under the default embedder;
indexes go to FOLDER. Both indexes return the very same passages, so their scores are of the same
thing. Prints nDCG@10 per way of searching, the difference with its 95 % paired bootstrap interval
over topics, and the median milliseconds of a live search reranked by MaxSim.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ragwright.optimize.questions.data import Question, read_questions  # noqa: E402
from ragwright.optimize.retrieval.labels import label  # noqa: E402
from ragwright.optimize.retrieval.relevance import Relevance, gains  # noqa: E402
from ragwright.optimize.retrieval.replay import LabelledCandidates, standard_settings  # noqa: E402
from ragwright.optimize.scoring.ranking import RankingMetric  # noqa: E402
from ragwright.optimize.scoring.statistics import Scores, paired_gain  # noqa: E402
from ragwright.programs import Knobs, Recipe, RerankRAG, build_program  # noqa: E402
from ragwright.programs.build import gather, index_settings  # noqa: E402
from ragwright.programs.candidates import Candidates  # noqa: E402
from ragwright.programs.selection import select  # noqa: E402
from ragwright.retrievers import read_documents  # noqa: E402
from ragwright.retrievers.index import open_index  # noqa: E402
from ragwright.retrievers.ingest import ingest  # noqa: E402

SIZE, SMALL = 400, 80
METRIC = RankingMetric.parse("ndcg@10")


def scored(recipe: Recipe, questions: Sequence[Question]) -> dict[str, Scores]:
    """Return nDCG@10 of every question by each standard way of searching."""
    program, index = build_program(recipe), open_index(recipe.index.path)
    found = Candidates.stack([gather(program, one.question) for one in questions])
    table = LabelledCandidates(found, Relevance.of(label(questions, index.chunks()), found))
    ways = {name: knobs.replaced(k=10) for name, knobs in standard_settings(found).items()}
    return {
        name: METRIC(gains(table.relevance, select(found, knobs).columns), table.relevance.ideal)
        for name, knobs in ways.items()
    }


def milliseconds(recipe: Recipe, questions: Sequence[Question]) -> float:
    """Return the median time of a live search, the question's vectors included."""
    knobs = Knobs(recipe.knobs.replaced(weight_maxsim=1.0))
    retriever = RerankRAG(recipe.index.path, knobs=knobs).retriever
    taken = []
    for question in questions:
        started = time.perf_counter()
        retriever(f"{question.question} ")
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def main(folder: Path) -> None:
    corpus = ROOT / "examples" / "python_reference" / "corpus.py"
    subprocess.run([sys.executable, str(corpus), str(folder)], check=True)
    questions = read_questions(folder / "questions.jsonl").questions
    index = {"path": str(folder / "index"), "chunking": {"size": SIZE}}
    whole = Recipe.checked({"index": index})
    small = whole.varied("parents", {"chunking": {"size": SMALL, "parent_size": SIZE}})
    results = []
    for recipe in (whole, small):
        source = read_documents(str(folder / "corpus.jsonl"))
        ingest(source, recipe.index.path, index_settings(recipe))
        results.append(scored(recipe, questions))
        held = open_index(recipe.index.path)
        passages, took = len(list(held.chunks())), milliseconds(recipe, questions)
        print(f"{held.count} chunks, {passages} passages, {took:.1f} ms a search")
    topics = [question.documents[0] for question in questions]
    for name, before in results[0].items():
        gain = paired_gain(before, results[1][name], groups=topics)
        means = f"{before.mean():.3f} -> {results[1][name].mean():.3f}"
        print(f"{name}: {means}, {gain.gain:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
