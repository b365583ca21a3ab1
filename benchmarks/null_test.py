"""A training set whose labels are shuffled: the verdict must be to keep the baseline.

    python benchmarks/null_test.py [--seeds 20] [--questions 200]

Answers and documents of a SQuAD sample are dealt out to the questions at random, anew with every
seed, which also draws split and compile. Whatever is then "learned" is luck. Both kinds of shipping
count, also that of a program as good as the baseline for fewer tokens. Exits with 1 if more than 1
of 20 are shipped.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, indexed, sample_of  # noqa: E402
from ragwright.optimize import CompileResult, compile_program  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402


def shuffled(questions: Sequence[Question], seed: int) -> list[Question]:
    """Deal the labels of all questions out again."""
    labels = list(questions)
    random.Random(seed).shuffle(labels)
    return [
        replace(question, answers=other.answers, documents=other.documents)
        for question, other in zip(questions, labels, strict=True)
    ]


def recipe_of(seed: int) -> Recipe:
    path, settings = indexed("squad")
    return Recipe.checked(
        {
            "name": "null",
            "index": {"path": str(path), "chunking": settings.chunking.model_dump()},
            "data": {"train": 0.25, "dev": 0.25, "seed": seed},
            "compile": {"retrieval_trials": 40, "candidates": 2, "threads": 2, "seed": seed},
        }
    )


def compiled(questions: Sequence[Question], seed: int) -> CompileResult:
    with tempfile.TemporaryDirectory() as folder:
        return compile_program(
            recipe_of(seed), shuffled(questions, seed), run_dir=Path(folder) / "run"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--questions", type=int, default=200)
    options = parser.parse_args()
    if not (DATA / "squad").is_dir():
        print(f"squad: not at {DATA / 'squad'}, nothing to do (set RAG_DATA)")
        return 0
    questions = sample_of(DATA / "squad", options.questions)
    shipped, started = 0, time.perf_counter()
    for seed in range(options.seeds):
        result = compiled(questions, seed)
        gain = result.gain
        shipped += result.verdict != "keep the baseline"
        print(
            f"seed {seed:2}: {result.verdict:20} chosen {result.chosen:17} n {gain.n} "
            f"gain {gain.gain:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] p {gain.p:.3f} "
            f"knobs {'kept' if result.search.kept_start else 'changed'}",
            flush=True,
        )
    seconds = time.perf_counter() - started
    print(f"{shipped} of {options.seeds} shipped; {seconds:.0f} s")
    return int(shipped > options.seeds / 20)


if __name__ == "__main__":
    sys.exit(main())
