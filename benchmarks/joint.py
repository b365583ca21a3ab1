"""Compiled against dense k=5 on questions that nothing was tuned on: SciFact and SQuAD.

    python benchmarks/joint.py [--sets scifact squad] [--questions 800] [--trials 150]

SciFact has no answers: the knobs are searched on its 809 train questions and nDCG@10 is measured on
its 300 test questions. SQuAD: a sample of questions is split by article and compiled with the
offline extractive model, so that knobs only, prompts only and both can be told apart. Everything
runs on MiniLM alone; indexes, pools and runs are kept under .rag/benchmarks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, WORKSPACE, indexed, questions_of, sample_of  # noqa: E402
from ragwright.optimize import CompileResult, compile_program  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.retrieval.labels import label  # noqa: E402
from ragwright.optimize.retrieval.pool import CandidatePool  # noqa: E402
from ragwright.optimize.retrieval.relevance import Relevance  # noqa: E402
from ragwright.optimize.retrieval.replay import Labelled, standard_settings  # noqa: E402
from ragwright.optimize.retrieval.search import search  # noqa: E402
from ragwright.optimize.retrieval.space import SearchSettings  # noqa: E402
from ragwright.optimize.scoring.ranking import RankingMetric  # noqa: E402
from ragwright.optimize.scoring.statistics import compare, mean_interval  # noqa: E402
from ragwright.programs.build import build_program  # noqa: E402
from ragwright.programs.knobs import KnobValues  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402
from ragwright.retrievers.index import open_index  # noqa: E402

METRIC = RankingMetric.parse("ndcg@10")
ROOMY = {"context_tokens": 200_000}
"""A ranking is measured here, not what fits into a prompt."""
PUBLISHED = "BM25 0.679 (Anserini), MiniLM 0.645, BM25 + ms-marco-MiniLM-L6 cross-encoder 0.688"


def labelled(recipe: Recipe, questions: list[Question]) -> Labelled:
    """Fetch (or read) the candidates of these questions and lay their labels over them."""
    program, index = build_program(recipe), open_index(recipe.index.path)
    pool = CandidatePool()
    candidates = pool.gathered(program.retriever, [question.question for question in questions])
    pool.save()
    return Labelled(candidates, Relevance.of(label(questions, index.chunks()), candidates))


def recipe_of(name: str) -> Recipe:
    path, settings = indexed(name)
    index = {"path": str(path), "chunking": settings.chunking.model_dump()}
    return Recipe.checked({"name": name, "index": index})


def scifact(trials: int) -> None:
    recipe, folder = recipe_of("scifact"), DATA / "scifact"
    train, test = questions_of(folder, prefix="train-"), questions_of(folder)
    run = WORKSPACE / "scifact-search"
    shutil.rmtree(run, ignore_errors=True)
    started = time.perf_counter()
    learn, judge = labelled(recipe, train), labelled(recipe, test)
    fetched = time.perf_counter()
    found = search(
        learn,
        KnobValues.dense(k=10).replaced(**ROOMY),
        KnobValues.dense(k=10).replaced(**ROOMY),
        SearchSettings(METRIC, trials, 3, ("dense", "bm25", "maxsim")),
        groups=[question.group for question in train],
        folder=run,
    )
    print(f"\n## SciFact: nDCG@10 of {len(test)} test questions, knobs from {len(train)} train")
    print(f"Published: {PUBLISHED}.\n")
    ways = {name: k.replaced(**ROOMY) for name, k in standard_settings(judge.candidates).items()}
    first = max(found.trials, key=lambda trial: trial.score)
    ways |= {"best on train": first.knobs, "tuned": found.best}
    table_of(judge, ways, [question.group for question in test])
    print(f"\nTuned, the simplest within one standard error: {shown(found.best)}.")
    print(f"Best on train ({first.score:.3f} there): {shown(first.knobs)}.")
    print(f"Pools {fetched - started:.0f} s, search {time.perf_counter() - fetched:.0f} s.")


def table_of(judge: Labelled, ways: dict[str, KnobValues], groups: list[str]) -> None:
    print("| retrieval | nDCG@10 | 95 % interval | against dense | 95 % interval | p |")
    print("|---|---|---|---|---|---|")
    base = judge.scores(ways["dense"], METRIC)
    for name, knobs in ways.items():
        scores = judge.scores(knobs, METRIC)
        mean = mean_interval(scores, groups=groups)
        gain = compare(base, scores, groups=groups)
        print(
            f"| {name} | {mean.mean:.3f} | {mean.low:.3f} to {mean.high:.3f} | {gain.gain:+.3f} "
            f"| {gain.low:+.3f} to {gain.high:+.3f} | {gain.p:.4f} |"
        )
    print(f"\nIntervals: {compare(base, base, groups=groups).resampled} resampled.")


def squad(count: int, trials: int) -> None:
    recipe = recipe_of("squad")
    questions = sample_of(DATA / "squad", count)
    table = recipe.model_dump()
    table["compile"] |= {"retrieval_trials": trials, "threads": 2}
    table["data"] |= {"train": 0.25, "dev": 0.25}
    run = WORKSPACE / "runs" / time.strftime("squad-%Y%m%dT%H%M%S")
    started = time.perf_counter()
    result = compile_program(Recipe.checked(table), questions, run_dir=run)
    seconds = time.perf_counter() - started
    sizes = ", ".join(f"{count} {side}" for side, count in result.inputs.sizes.items())
    print(f"\n## SQuAD: answer F1 of the extractive model, split by article ({sizes})\n")
    ablation(result)
    print("\n| retrieval on test |", " | ".join(result.retrieval[0].means), "|")
    print("|---|", "---|" * len(result.retrieval[0].means), sep="")
    for row in result.retrieval:
        print(f"| {row.name} |", " | ".join(f"{mean:.3f}" for mean in row.means.values()), "|")
    print(f"\nVerdict: {result.verdict}. Compiled: {shown(result.knobs)}.")
    print(f"Intervals: {result.gain.resampled} resampled. Compiled in {seconds:.0f} s.")


def ablation(result: CompileResult) -> None:
    print("| program | answer F1 | 95 % interval | gain | 95 % interval | p (Holm) |")
    print("|---|---|---|---|---|---|")
    for name, done in result.test.items():
        mean, gain = done.interval(), result.ablation[name]
        corrected = result.corrected.get(name, 1.0)
        print(
            f"| {name}{' = compiled' if name == result.chosen else ''} | {mean.mean:.3f} "
            f"| {mean.low:.3f} to {mean.high:.3f} | {gain.gain:+.3f} "
            f"| {gain.low:+.3f} to {gain.high:+.3f} | {corrected:.4f} |"
        )


def shown(knobs: KnobValues) -> str:
    """The knobs that differ from plain dense retrieval."""
    plain = KnobValues.dense().model_dump()
    changed = {key: value for key, value in knobs.model_dump().items() if value != plain[key]}
    return ", ".join(f"{key} {value}" for key, value in changed.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=["scifact", "squad"])
    parser.add_argument("--questions", type=int, default=800, help="of SQuAD")
    parser.add_argument("--trials", type=int, default=150)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; {' '.join(sys.argv)}")
    for name in options.sets:
        if not (DATA / name).is_dir():
            print(f"{name}: not at {DATA / name}, left out (set RAG_DATA)")
        elif name == "scifact":
            scifact(options.trials)
        else:
            squad(options.questions, options.trials)


if __name__ == "__main__":
    main()
