"""Lay out SQuAD, or a set like it, for the `rag` command: a recipe, and questions by article.

    python benchmarks/squad_path.py FOLDER [SET]    # SET: squad, xquad-zh, xquad-de
    rag ingest FOLDER/recipe.toml
    rag compile FOLDER/recipe.toml --output FOLDER/artifact

300 train, 150 dev and 300 test questions are drawn; no article is on two sides. The corpus stays
where it is: the set in the folder RAG_DATA (default ../shared/data).
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, questions_of  # noqa: E402

SIZES = {"test": 300, "train": 300, "dev": 150}
RECIPE = """name = "{name}"

[index]
path = "index"
documents = "{documents}"

[data]
trainset = "questions.jsonl"

[compile]
optimizer = "bootstrap-random-search"
"""


def by_article(name: str) -> dict[str, list[dict[str, Any]]]:
    """Return the questions of every article of a set, in the form of a training set."""
    articles: dict[str, list[dict[str, Any]]] = {}
    for one in questions_of(DATA / name):
        line = {"id": one.id, "question": one.question, "answers": one.answers}
        title = one.group.replace("_", " ")
        articles.setdefault(title, []).append(line | {"documents": one.documents, "group": title})
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


def main(folder: Path, name: str = "squad") -> None:
    """Write the recipe and the questions."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = divided(by_article(name))
    lines = (json.dumps(question, ensure_ascii=False) + "\n" for question in questions)
    (folder / "questions.jsonl").write_text("".join(lines), encoding="utf-8")
    recipe = RECIPE.format(name=name, documents=(DATA / name / "corpus.jsonl").resolve())
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    print(f"rag ingest {folder}/recipe.toml")
    print(f"rag compile {folder}/recipe.toml --output {folder}/artifact")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
