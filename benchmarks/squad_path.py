"""Lay out SQuAD for the `rag` command: a recipe, and 300 / 150 / 300 questions split by article.

    python benchmarks/squad_path.py FOLDER
    rag ingest FOLDER/recipe.toml
    rag compile FOLDER/recipe.toml --output FOLDER/artifact

The corpus stays where it is: `squad` in the folder RAG_DATA (default ../shared/data).
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("RAG_DATA", "../shared/data")).resolve() / "squad"
SIZES = {"test": 300, "train": 300, "dev": 150}
RECIPE = """name = "squad"

[index]
path = "index"
documents = "{documents}"

[data]
trainset = "questions.jsonl"

[compile]
optimizer = "bootstrap-random-search"
"""


def by_article() -> dict[str, list[dict[str, Any]]]:
    """Return the questions of every article, in the form of a training set."""
    rows = map(json.loads, (DATA / "corpus.jsonl").read_text(encoding="utf-8").splitlines())
    titles = {row["_id"]: row["title"] for row in rows}
    pairs = (line.split("\t") for line in (DATA / "qrels.tsv").read_text("utf-8").splitlines()[1:])
    wanted: dict[str, list[str]] = {}
    for query, document, _ in pairs:
        wanted.setdefault(query, []).append(document)
    articles: dict[str, list[dict[str, Any]]] = {}
    for line in (DATA / "queries.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found = wanted.get(row["_id"], [])
        if found and row["answers"]:
            question = {"id": row["_id"], "question": row["text"], "answers": row["answers"]}
            title = titles[found[0]]
            articles.setdefault(title, []).append(question | {"documents": found, "group": title})
    return articles


def divided(articles: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Deal whole articles to the three sides in turn and draw each side's questions from them."""
    drawn = random.Random(0)
    titles = sorted(articles)
    drawn.shuffle(titles)
    dealt = ("test", "train", "dev", "test", "train")
    pools: dict[str, list[dict[str, Any]]] = {side: [] for side in SIZES}
    for place, title in enumerate(titles):
        pools[dealt[place % len(dealt)]] += articles[title]
    return [
        question | {"split": side}
        for side, size in SIZES.items()
        for question in drawn.sample(pools[side], size)
    ]


def main(folder: Path) -> None:
    """Write the recipe and the questions."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(question, ensure_ascii=False) + "\n" for question in divided(by_article()))
    (folder / "questions.jsonl").write_text("".join(lines), encoding="utf-8")
    recipe = RECIPE.format(documents=DATA / "corpus.jsonl")
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    print(f"rag ingest {folder}/recipe.toml")
    print(f"rag compile {folder}/recipe.toml --output {folder}/artifact")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
