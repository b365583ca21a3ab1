"""Compiled against dense k=5 on questions that nothing was tuned on, knobs and prompts apart.

    python benchmarks/joint.py [--sets scifact squad 2wikimultihopqa-1000 sample ...]
                               [--questions 400] [--trials 150] [--folds 3] [--small]

SciFact has no answers: the knobs are searched on its 809 train questions and nDCG@10 is measured on
its 300 test questions. On the others a program is compiled with the offline extractive model, so
that knobs only, prompts only and both can be told apart; of SQuAD only articles that the model was
not trained on. Everything runs on MiniLM; indexes, pools and runs are kept under .rag/benchmarks.

With `--folds N` (not SciFact) every question is held out once: groups are cut into N folds, each is
the test side of one compile, and the others are its train and dev sides, in the recipe's
proportion. The answers of all folds together give one paired interval, groups resampled. It is of N
compiles, not of one program, and these learned from questions that they share (with three folds two
compiles share half of theirs), so that what the choice of learning questions adds to the noise is
not all in it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, WORKSPACE, questions_of  # noqa: E402
from benchmarks.fixed_ways import METRIC, ROOMY, indexed_set  # noqa: E402
from benchmarks.local_lm import TIMEOUT, asked_at, served  # noqa: E402
from benchmarks.train_reader import HELD_OUT  # noqa: E402
from ragwright.optimize import CompileResult, compile_program  # noqa: E402
from ragwright.optimize.choice import compare_on_test  # noqa: E402
from ragwright.optimize.questions.data import Question, Side, read_questions  # noqa: E402
from ragwright.optimize.questions.splitting import assign_sides  # noqa: E402
from ragwright.optimize.result import (  # noqa: E402
    BASELINE,
    BOTH,
    KNOBS_ONLY,
    PROMPTS_ONLY,
    START,
)
from ragwright.optimize.retrieval.replay import LabelledCandidates, standard_settings  # noqa: E402
from ragwright.optimize.retrieval.search import Search, search_knobs  # noqa: E402
from ragwright.optimize.retrieval.space import SearchSettings  # noqa: E402
from ragwright.optimize.scoring.evaluation import Evaluation  # noqa: E402
from ragwright.optimize.scoring.statistics import Gain, mean_interval, paired_gain  # noqa: E402
from ragwright.optimize.study.pooling import StudyQuestions, fetch_study_questions  # noqa: E402
from ragwright.programs.build import index_settings  # noqa: E402
from ragwright.programs.knobs import KnobValues  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402
from ragwright.programs.sections import DataSection  # noqa: E402
from ragwright.retrievers.documents import read_documents  # noqa: E402
from ragwright.retrievers.ingest import ingest  # noqa: E402

SAMPLE = ROOT / "examples" / "python_reference"
SETS = ["scifact", "squad", "2wikimultihopqa-1000", "anthropic-docs-rag", "covid-qa-200423",
        "hotpotqa-train100", "sample"]  # fmt: skip
WINDOW = 8192
"""Tokens of a prompt and its answer: all that SmolLM2 was made for."""
FEW: dict[str, Any] = {"timeout": TIMEOUT, "candidates": 1, "max_labeled_demos": 2,
                       "max_bootstrapped_demos": 2}  # fmt: skip
"""What is compiled otherwise where a small model answers."""
PUBLISHED = "BM25 0.679 (Anserini), MiniLM 0.645, BM25 + ms-marco-MiniLM-L6 cross-encoder 0.688"


def scifact(trials: int) -> None:
    """Search knobs on the train questions and rank for the test questions."""
    index, test = indexed_set(DATA / "scifact")
    recipe = Recipe.checked({"name": "scifact", "index": index})
    train = questions_of(DATA / "scifact", prefix="train-")
    run = WORKSPACE / "scifact-search"
    shutil.rmtree(run, ignore_errors=True)
    started = time.perf_counter()
    learned, tested = fetch_study_questions(recipe, train), fetch_study_questions(recipe, test)
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
    return search_knobs(labelled, start, KnobValues.dense(k=10).replaced(**ROOMY), settings,
                  groups=learned.groups, folder=run)  # fmt: skip


def table_of(judge: LabelledCandidates, ways: dict[str, KnobValues], groups: Sequence[str]) -> None:
    print("| retrieval | nDCG@10 | 95 % interval | against dense | 95 % interval | p |")
    print("|---|---|---|---|---|---|")
    base = judge.scores(ways["dense"], METRIC)
    for name, knobs in ways.items():
        scores = judge.scores(knobs, METRIC)
        mean = mean_interval(scores, groups=groups)
        gain = paired_gain(base, scores, groups=groups)
        print(
            f"| {name} | {mean.mean:.3f} | {mean.low:.3f} to {mean.high:.3f} | {gain.gain:+.3f} "
            f"| {gain.low:+.3f} to {gain.high:+.3f} | {gain.p:.4f} |"
        )
    print(f"\nIntervals: {paired_gain(base, base, groups=groups).resampled} resampled.")


@dataclass(frozen=True)
class Setup:
    """A set, how much of it and of the search, and who answers: the offline reader if nobody."""

    name: str
    count: int
    trials: int
    lm: dspy.LM | None = None

    @property
    def reader(self) -> str:
        return self.lm.model if self.lm else "the extractive model"

    def inputs(self) -> tuple[Recipe, list[Question] | None]:
        if self.name == "sample":
            return sample(self.trials)
        recipe, questions = of_set(self.name, self.count, self.trials)
        section = recipe.compile.model_copy(update=FEW if self.lm else {})
        return recipe.model_copy(update={"compile": section}), questions

    def run(self, part: str = "") -> Path:
        return WORKSPACE / "runs" / time.strftime(f"{self.name}-{part}%Y%m%dT%H%M%S")


@contextmanager
def small_model(wanted: bool) -> Iterator[dspy.LM | None]:
    """Serve a small model while the block runs, if one is wanted."""
    if not wanted:
        yield None
        return
    with served("", WINDOW) as address:
        yield asked_at(address)


def answered(setup: Setup) -> None:
    """Compile, and tell knobs, prompts and both apart."""
    recipe, questions = setup.inputs()
    started = time.perf_counter()
    result = compile_program(recipe, questions, lm=setup.lm, run_dir=setup.run())
    seconds = time.perf_counter() - started
    sizes = ", ".join(f"{count} {side}" for side, count in result.inputs.sizes.items())
    print(f"\n## {setup.name}: {recipe.compile.metric} of {setup.reader} ({sizes})\n")
    ablation(result)
    differences(result.comparisons)
    print("\n| retrieval on test |", " | ".join(result.retrieval[0].means), "|")
    print("|---|", "---|" * len(result.retrieval[0].means), sep="")
    for row in result.retrieval:
        print(f"| {row.name} |", " | ".join(f"{mean:.3f}" for mean in row.means.values()), "|")
    print(f"\nVerdict: {result.verdict}: {result.chosen!r}. {result.why}")
    print(f"Knobs: {shown(result.knobs)}. {result.gain.resampled} resampled; {seconds:.0f} s.")
    sys.stdout.flush()


def differences(gains: Mapping[str, Gain]) -> None:
    print("\n| together | difference | 95 % interval | better / worse |\n|---|---|---|---|")
    for pair, gain in gains.items():
        print(f"| {pair} | {gain.gain:+.3f} | {gain.low:+.3f} to {gain.high:+.3f} "
              f"| {gain.wins} / {gain.losses} |")  # fmt: skip


def cross_fitted(setup: Setup, folds: int) -> None:
    """Compile once for every fold, and compare the answers to all held-out questions."""
    recipe, drawn = setup.inputs()
    questions = drawn or read_questions(str(recipe.data.trainset)).questions
    print(f"\n## {setup.name}: {recipe.compile.metric} of {setup.reader}, "
          f"{len(questions)} questions held out in {folds} folds\n")  # fmt: skip
    tests, started = [], time.perf_counter()
    for number, sides in enumerate(folds_of(questions, folds, recipe.data), start=1):
        result = compile_program(recipe, sides, lm=setup.lm, run_dir=setup.run(f"fold-{number}-"))
        tests.append(result.test)
        means = ", ".join(f"{one} {done.mean:.3f} ({done.tokens:.0f} tokens)"
                          for one, done in result.test.items())  # fmt: skip
        print(f"Fold {number}, {result.inputs.sizes}: {means}. {result.verdict}: "
              f"{result.chosen!r}. {shown(result.knobs)}.\n", flush=True)  # fmt: skip
    whole = {variant: Evaluation(tuple(row for test in tests for row in test[variant].rows))
             for variant in (BASELINE, START, KNOBS_ONLY, PROMPTS_ONLY, BOTH)}  # fmt: skip
    print("| program | answer F1 | 95 % interval | tokens |\n|---|---|---|---|")
    for variant, done in whole.items():
        mean = done.interval()
        print(f"| {variant} | {mean.mean:.3f} | {mean.low:.3f} to {mean.high:.3f} "
              f"| {done.tokens:.0f} |")  # fmt: skip
    gains = {f"{BOTH} - {other}": compare_on_test(whole, other, BOTH, recipe.compile.seed)
             for other in (PROMPTS_ONLY, KNOBS_ONLY, START, BASELINE)}  # fmt: skip
    differences(gains)
    gain = gains[f"{BOTH} - {PROMPTS_ONLY}"]
    print(f"\n{gain.n} questions, {gain.resampled} resampled, p {gain.p:.4f}; from "
          f"{gain.detectable:.3f} on a gain shows 4 times of 5; "
          f"{time.perf_counter() - started:.0f} s.")  # fmt: skip
    sys.stdout.flush()


def folds_of(questions: Sequence[Question], count: int, data: DataSection) -> list[list[Question]]:
    """All questions, `count` times, with the side of each: a fold of the groups is test every time.

    Groups go in random order to the fold that has the fewest questions.
    """
    sizes = Counter(question.group for question in questions)
    groups = sorted(sizes)
    random.Random(data.seed).shuffle(groups)
    folds: list[set[str]] = [set() for _ in range(count)]
    for group in groups:
        min(folds, key=lambda fold: sum(sizes[one] for one in fold)).add(group)
    return [_sided(questions, fold, data) for fold in folds]


def _sided(questions: Sequence[Question], held: set[str], data: DataSection) -> list[Question]:
    left = [question for question in questions if question.group not in held]
    share = data.train / (data.train + data.dev)
    shares: dict[Side, float] = {"train": share, "dev": 1 - share}
    chosen = assign_sides(left, shares, data.seed, "document")
    return [replace(question, split=chosen.get(question.id, "test")) for question in questions]


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
    parser.add_argument("--folds", type=int, default=0, help="hold every question out once")
    parser.add_argument("--small", action="store_true", help="SmolLM2 answers, not the reader")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; {' '.join(sys.argv)}", flush=True)
    with small_model(options.small) as lm:
        for name in options.sets:
            measured(Setup(name, options.questions, options.trials, lm), options.folds)


def measured(setup: Setup, folds: int) -> None:
    if setup.name != "sample" and not (DATA / setup.name).is_dir():
        print(f"{setup.name}: not at {DATA / setup.name}, left out (set RAG_DATA)")
    elif setup.name == "scifact":
        scifact(setup.trials)
    elif folds:
        cross_fitted(setup, folds)
    else:
        answered(setup)


if __name__ == "__main__":
    main()
