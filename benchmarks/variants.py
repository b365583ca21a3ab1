"""Which of several ways to cut the documents holds most of what is wanted, and what that costs.

    python benchmarks/variants.py [--sets covid-qa-200423 anthropic-docs-rag] [--questions 400]

What `[compile] variants = "auto"` does before any language model is asked: the recipe's own
chunking and the grid around it, at equal tokens of context; train and dev questions choose, by what
is held and, where that cannot tell, by the answers of the offline reader; test questions measure,
by answers too. The cache of vectors is a new one, so that costs are those of a first run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import dspy  # noqa: E402

from benchmarks.beir import DATA  # noqa: E402
from benchmarks.fixed_ways import beir  # noqa: E402
from ragwright.optimize.accounts import RunModels  # noqa: E402
from ragwright.optimize.compile import Run, answers_for_variants, split_questions  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.scoring.evaluate import evaluate  # noqa: E402
from ragwright.optimize.scoring.evaluation import Evaluation  # noqa: E402
from ragwright.optimize.scoring.metrics import build_metric  # noqa: E402
from ragwright.optimize.scoring.statistics import paired_gain  # noqa: E402
from ragwright.optimize.variant_decision import OWN  # noqa: E402
from ragwright.optimize.variants import (  # noqa: E402
    VariantChoice,
    choose_variant,
    keep_context_size,
    variants_of,
)
from ragwright.programs.build import build_program  # noqa: E402
from ragwright.programs.lm import build_lm  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402
from ragwright.retrievers.types import Document  # noqa: E402

SETS = ["covid-qa-200423", "anthropic-docs-rag"]


def measured(name: str, count: int, home: Path) -> tuple[VariantChoice, dict[str, Evaluation]]:
    """Choose among the variants of a set's index; answers to test over those that took part."""
    found, questions = beir(DATA / name)
    documents = list(found)
    file = home / f"{name}.jsonl"
    rows = ({"_id": one.id, "title": one.title, "text": one.text} for one in documents)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    index = {"path": str(home / name), "documents": str(file)}
    table = {"name": "variants", "index": index, "compile": {"variants": "auto"}}
    recipe = Recipe.checked(table)
    drawn = random.Random(0).sample(questions, min(count, len(questions)))
    asked = [quoting(question, documents) for question in drawn]
    splits, metric = split_questions(recipe, asked), build_metric("answer_f1", threshold=0.6)
    run = Run(home / f"{name}-run")
    models = RunModels(build_lm("extractive"))
    by = answers_for_variants(build_program, models, metric, run)
    _, choice = choose_variant(recipe, splits, folder=run.folder, by=by)
    assert choice is not None
    recipes = {name: keep_context_size(recipe, one) for name, one in variants_of(recipe).items()}
    with dspy.context(lm=models.lm):
        answers = {
            row.name: evaluate(build_program(recipes[row.name]), splits.test, metric, threads=2)
            for row in choice.rows if row.held is not None
        }  # fmt: skip
    return choice, answers


def quoting(question: Question, documents: list[Document]) -> Question:
    """Take an answer that stands in its document word for word as the evidence that it is."""
    texts = [one.text for one in documents if one.id in question.documents]
    quoted = tuple(one for one in question.answers if any(one.strip() in text for text in texts))
    return replace(question, evidence=quoted[:1])


def shown(name: str, choice: VariantChoice, answers: dict[str, Evaluation]) -> None:
    print(f"\n## {name}: {choice.questions} train and dev questions, {choice.tokens} tokens\n")
    print("| index | cut | by keyword | as the program | answers | pieces | embedded | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for row in choice.rows:
        held = "dropped" if row.held is None else f"{row.held:.3f}"
        cut = ", ".join(f"{key} {value}" for key, value in row.chunking.items())
        mark = " (chosen)" if row.name == choice.chosen else ""
        scored = "" if row.answers is None else f"{row.answers:.3f}"
        print(f"| {row.name}{mark} | {cut} | {row.keyword:.3f} | {held} | {scored} | {row.chunks} "
              f"| {row.embedded} | {row.seconds:.1f} |")  # fmt: skip
    own = next(row for row in choice.rows if row.name == OWN)
    texts, seconds = (sum(getattr(row, key) for row in choice.rows) for key in
                      ("embedded", "seconds"))  # fmt: skip
    size = sum(row.characters for row in choice.rows if row.held is not None) / own.characters
    cost = f"{size:.2f} times the text of one ingest in {texts / own.embedded:.2f} times its pieces"
    cost += f", {seconds / own.seconds:.2f} times its seconds, searching included"
    print(f"\n{cost}. {choice.described}")
    for index, done in answers.items():
        gain = paired_gain(
            answers[OWN].scores, done.scores, groups=[row.group for row in done.rows]
        )
        print(f"answers to {gain.n} test questions over {index}: F1 {done.interval().mean:.3f}, "
              f"{gain.gain:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) to the recipe's own; better "
              f"on {gain.wins}, worse on {gain.losses}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--questions", type=int, default=400, help="of each set")
    options = parser.parse_args()
    for name in options.sets:
        with TemporaryDirectory(ignore_cleanup_errors=True) as home:
            os.environ["RAGWRIGHT_CACHE"] = str(Path(home) / "cache")
            shown(name, *measured(name, options.questions, Path(home)))


if __name__ == "__main__":
    main()
