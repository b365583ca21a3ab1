"""A training set whose labels are shuffled: the verdict must be to keep the baseline.

    python benchmarks/null_test.py [--seeds 20] [--questions 200] [--learn questions adapter]
                                   [--variants auto] [--near] [--first 0]

Answers and documents of a SQuAD sample are dealt out to the questions at random, anew with every
seed, which also draws split and compile. Whatever is then "learned" is luck. Both kinds of shipping
count, also that of a program as good as the baseline for fewer tokens. Exits with 1 if more than 1
of 20 are shipped. With `--learn`, these sources are learned too, and questions are split one by
one; with `--variants`, the chunking is chosen as well. With `--near`, the document of a question is
drawn from those of its own article, so that it is found: else a ranker has nothing to learn from.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, WORKSPACE, documents_of, indexed, sample_of  # noqa: E402
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


def near(questions: Sequence[Question], seed: int) -> list[Question]:
    """Draw a document of the same article for each, never the one that answers it."""
    rng, articles = random.Random(seed), defaultdict(list)
    for document in documents_of(DATA / "squad"):
        articles[document.id.split("#")[0]].append(document.id)
    return [
        replace(one, documents=(rng.choice([name for name in articles[one.group]
                                            if name not in one.documents]),))
        for one in questions
    ]  # fmt: skip


def recipe_of(seed: int, learn: Sequence[str], variants: Sequence[str]) -> Recipe:
    path, settings = indexed("squad")
    index = {"path": str(path), "chunking": settings.chunking.model_dump()}
    data: dict[str, Any] = {"train": 0.25, "dev": 0.25, "seed": seed}
    compiling: dict[str, Any] = {"retrieval_trials": 40, "candidates": 2, "threads": 2,
                                 "seed": seed}  # fmt: skip
    if learn:
        data["split"], compiling["learn"] = "question", list(learn)
    if variants:
        compiling["variants"] = "auto" if list(variants) == ["auto"] else list(variants)
        index["documents"] = str(_documents())
    return Recipe.checked({"name": "null", "index": index, "data": data, "compile": compiling})


def _documents() -> Path:
    """The corpus as a file that a recipe can name, for indexes cut otherwise."""
    file = WORKSPACE / "squad-documents.jsonl"
    rows = ({"_id": one.id, "title": one.title, "text": one.text}
            for one in documents_of(DATA / "squad"))  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def compiled(questions: Sequence[Question], recipe: Recipe) -> CompileResult:
    with tempfile.TemporaryDirectory() as folder:
        return compile_program(recipe, questions, run_dir=Path(folder) / "run")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--learn", nargs="*", default=(), help="questions, adapter, ...")
    parser.add_argument("--near", action="store_true", help="documents of the same article")
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--variants", nargs="*", default=(), help="auto, or names")
    options = parser.parse_args()
    if not (DATA / "squad").is_dir():
        print(f"squad: not at {DATA / 'squad'}, nothing to do (set RAG_DATA)")
        return 0
    questions = sample_of(DATA / "squad", options.questions)
    shipped, started = 0, time.perf_counter()
    for seed in range(options.first, options.first + options.seeds):
        recipe = recipe_of(seed, options.learn, options.variants)
        labels = shuffled(questions, seed)
        if options.near:
            dealt = zip(labels, near(questions, seed), strict=True)
            labels = [replace(one, documents=other.documents) for one, other in dealt]
        result = compiled(labels, recipe)
        gain = result.gain
        shipped += result.verdict != "keep the baseline"
        print(
            f"seed {seed:2}: {result.verdict:20} chosen {result.chosen:17} n {gain.n} "
            f"gain {gain.gain:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] p {gain.p:.3f} "
            f"knobs {'kept' if result.search.kept_start else 'changed'} "
            f"learned {[one.name for one in result.sources if one.kept]} "
            f"of {[one.name for one in result.sources if one.gain]}",
            flush=True,
        )
    seconds = time.perf_counter() - started
    print(f"{shipped} of {options.seeds} shipped; {seconds:.0f} s")
    return int(shipped > options.seeds / 20)


if __name__ == "__main__":
    sys.exit(main())
