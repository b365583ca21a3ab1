"""Compiled against dense k=5 on questions that nothing was tuned on, knobs and prompts apart.

    python benchmarks/joint.py [--sets scifact squad 2wikimultihopqa-1000 sample ...]
                               [--questions 400] [--trials 150]

SciFact has no answers: the knobs are searched on its 809 train questions and nDCG@10 is measured on
its 300 test questions. On the others a program is compiled with the offline extractive model, so
that knobs only, prompts only and both can be told apart; of SQuAD only articles that the model was
not trained on. Everything runs on MiniLM; indexes, pools and runs are kept under .rag/benchmarks.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, WORKSPACE, questions_of  # noqa: E402
from benchmarks.fixed_ways import METRIC, ROOMY, indexed_set  # noqa: E402
from benchmarks.train_reader import HELD_OUT  # noqa: E402
from ragwright.optimize import CompileResult, compile_program  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.retrieval.replay import LabelledCandidates, standard_settings  # noqa: E402
from ragwright.optimize.retrieval.search import Search, search  # noqa: E402
from ragwright.optimize.retrieval.space import SearchSettings  # noqa: E402
from ragwright.optimize.scoring.statistics import compare, mean_interval  # noqa: E402
from ragwright.optimize.study.pooling import StudyQuestions, studied  # noqa: E402
from ragwright.programs.build import index_settings  # noqa: E402
from ragwright.programs.knobs import KnobValues  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402
from ragwright.retrievers.documents import read_documents  # noqa: E402
from ragwright.retrievers.ingest import ingest  # noqa: E402

SAMPLE = ROOT / "examples" / "python_reference"
SETS = ["scifact", "squad", "2wikimultihopqa-1000", "anthropic-docs-rag", "covid-qa-200423",
        "hotpotqa-train100", "sample"]  # fmt: skip
PUBLISHED = "BM25 0.679 (Anserini), MiniLM 0.645, BM25 + ms-marco-MiniLM-L6 cross-encoder 0.688"


def scifact(trials: int) -> None:
    """Search knobs on the train questions and rank for the test questions."""
    index, test = indexed_set(DATA / "scifact")
    recipe = Recipe.checked({"name": "scifact", "index": index})
    train = questions_of(DATA / "scifact", prefix="train-")
    run = WORKSPACE / "scifact-search"
    shutil.rmtree(run, ignore_errors=True)
    started = time.perf_counter()
    learned, tested = studied(recipe, train), studied(recipe, test)
    fetched = time.perf_counter()
    judge = tested.labelled("document")
    found = searched(learned, trials, run)
    print(f"\n## SciFact: nDCG@10 of {len(tested.questions)} test questions, knobs from "
          f"{len(learned.questions)} train")  # fmt: skip
    print(f"Published: {PUBLISHED}.\n")
    ways = {name: k.replaced(**ROOMY) for name, k in standard_settings(judge.candidates).items()}
    first = max(found.trials, key=lambda trial: trial.score)
    table_of(judge, ways | {"best on train": first.knobs, "tuned": found.best}, tested.groups)
    print(f"\nTuned: {shown(found.best)}. {found.fixed}")
    print(f"Pools {fetched - started:.0f} s, search {time.perf_counter() - fetched:.0f} s.")
    sys.stdout.flush()


def searched(learned: StudyQuestions, trials: int, run: Path) -> Search:
    """Search from the default start, by document."""
    labelled = learned.labelled("document")
    signals = sorted(labelled.candidates.by_signal.values(), key=lambda one: not one.source)
    start = KnobValues(weight_dense=0.5, weight_bm25=0.5, weight_maxsim=1.0, **ROOMY)
    settings = SearchSettings(METRIC, trials, 3, tuple(signals))
    return search(labelled, start, KnobValues.dense(k=10).replaced(**ROOMY), settings,
                  groups=learned.groups, folder=run)  # fmt: skip


def table_of(judge: LabelledCandidates, ways: dict[str, KnobValues], groups: Sequence[str]) -> None:
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


def answered(name: str, count: int, trials: int) -> None:
    """Compile with the offline extractive model and tell knobs, prompts and both apart."""
    recipe, questions = sample(trials) if name == "sample" else of_set(name, count, trials)
    run = WORKSPACE / "runs" / time.strftime(f"{name}-%Y%m%dT%H%M%S")
    started = time.perf_counter()
    result = compile_program(recipe, questions, run_dir=run)
    seconds = time.perf_counter() - started
    sizes = ", ".join(f"{count} {side}" for side, count in result.inputs.sizes.items())
    print(f"\n## {name}: {recipe.compile.metric} of the extractive model ({sizes})\n")
    ablation(result)
    print("\n| together | difference | 95 % interval | better / worse |\n|---|---|---|---|")
    for pair, gain in result.comparisons.items():
        print(f"| {pair} | {gain.gain:+.3f} | {gain.low:+.3f} to {gain.high:+.3f} "
              f"| {gain.wins} / {gain.losses} |")  # fmt: skip
    print("\n| retrieval on test |", " | ".join(result.retrieval[0].means), "|")
    print("|---|", "---|" * len(result.retrieval[0].means), sep="")
    for row in result.retrieval:
        print(f"| {row.name} |", " | ".join(f"{mean:.3f}" for mean in row.means.values()), "|")
    print(f"\nVerdict: {result.verdict}: {result.chosen!r}. {result.why}")
    print(f"Knobs: {shown(result.knobs)}. {result.gain.resampled} resampled; {seconds:.0f} s.")
    sys.stdout.flush()


def of_set(name: str, count: int, trials: int) -> tuple[Recipe, list[Question]]:
    """A BEIR folder with answers, cut into chunks of 200 tokens, half of its questions for test.

    Of SQuAD only articles that the extractive model was not trained on; each paragraph is a group.
    """
    index, found = indexed_set(DATA / name)
    if name == "squad":
        held = [one for one in found if one.group in HELD_OUT]
        found = [replace(one, group=one.documents[0]) for one in held]
    table: dict[str, Any] = {"name": name, "index": index, "data": {"train": 0.25, "dev": 0.25}}
    table["compile"] = {"retrieval_trials": trials, "threads": 2}
    return Recipe.checked(table), random.Random(0).sample(found, min(count, len(found)))


def sample(trials: int) -> tuple[Recipe, None]:
    """The sample project: Python's reference and questions about it, as its recipe has them."""
    subprocess.run([sys.executable, str(SAMPLE / "corpus.py"), str(SAMPLE / ".rag")], check=True)
    recipe = Recipe.from_toml(SAMPLE / "recipe.toml")
    ingest(read_documents(str(recipe.index.documents)), recipe.index.path, index_settings(recipe))
    section = recipe.compile.model_copy(update={"retrieval_trials": trials, "threads": 2})
    return recipe.model_copy(update={"compile": section}), None


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
    changed = {key: value for key, value in knobs.model_dump().items() if value != plain.get(key)}
    return ", ".join(f"{key} {value}" for key, value in changed.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--questions", type=int, default=400, help="of each set")
    parser.add_argument("--trials", type=int, default=150)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; {' '.join(sys.argv)}")
    for name in options.sets:
        if name != "sample" and not (DATA / name).is_dir():
            print(f"{name}: not at {DATA / name}, left out (set RAG_DATA)")
        elif name == "scifact":
            scifact(options.trials)
        else:
            answered(name, options.questions, options.trials)


if __name__ == "__main__":
    main()
