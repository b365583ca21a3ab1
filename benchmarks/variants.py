"""Which of several ways to cut the documents holds most of what is wanted, and what that costs.

    python benchmarks/variants.py [--sets covid-qa-200423 anthropic-docs-rag] [--questions 400]

What `[compile] variants = "auto"` does before any language model is asked: the recipe's own
chunking and the grid around it, at equal tokens of context; train and dev questions choose, test
questions measure. The cache of vectors is a new one, so that costs are those of a first run.
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

from benchmarks.beir import DATA  # noqa: E402
from benchmarks.fixed_ways import beir  # noqa: E402
from ragwright.optimize.compile import split_of  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.variant_decision import OWN  # noqa: E402
from ragwright.optimize.variants import VariantChoice, choose_variant  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402
from ragwright.retrievers.types import Document  # noqa: E402

SETS = ["covid-qa-200423", "anthropic-docs-rag"]


def measured(name: str, count: int, home: Path) -> VariantChoice:
    """Choose among the variants of a set's index in a folder of its own."""
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
    _, choice = choose_variant(recipe, split_of(recipe, asked), folder=home / f"{name}-run")
    assert choice is not None
    return choice


def quoting(question: Question, documents: list[Document]) -> Question:
    """Take an answer that stands in its document word for word as the evidence that it is."""
    texts = [one.text for one in documents if one.id in question.documents]
    quoted = tuple(one for one in question.answers if any(one.strip() in text for text in texts))
    return replace(question, evidence=quoted[:1])


def shown(name: str, choice: VariantChoice) -> None:
    print(f"\n## {name}: {choice.questions} train and dev questions, {choice.tokens} tokens\n")
    print("| index | cut | by keyword | as the program | pieces | embedded | seconds |")
    print("|---|---|---|---|---|---|---|")
    for row in choice.rows:
        held = "dropped" if row.held is None else f"{row.held:.3f}"
        cut = ", ".join(f"{key} {value}" for key, value in row.chunking.items())
        mark = " (chosen)" if row.name == choice.chosen else ""
        print(f"| {row.name}{mark} | {cut} | {row.keyword:.3f} | {held} | {row.chunks} "
              f"| {row.embedded} | {row.seconds:.1f} |")  # fmt: skip
    own = next(row for row in choice.rows if row.name == OWN)
    texts, seconds = (sum(getattr(row, key) for row in choice.rows) for key in
                      ("embedded", "seconds"))  # fmt: skip
    size = sum(row.characters for row in choice.rows if row.held is not None) / own.characters
    cost = f"{size:.2f} times the text of one ingest in {texts / own.embedded:.2f} times its pieces"
    cost += f", {seconds / own.seconds:.2f} times its seconds, searching included"
    print(f"\n{cost}. {choice.described}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--questions", type=int, default=400, help="of each set")
    options = parser.parse_args()
    for name in options.sets:
        with TemporaryDirectory(ignore_cleanup_errors=True) as home:
            os.environ["RAGWRIGHT_CACHE"] = str(Path(home) / "cache")
            shown(name, measured(name, options.questions, Path(home)))


if __name__ == "__main__":
    main()
