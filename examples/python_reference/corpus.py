"""Write the sample's corpus and training set, from the documentation that this Python carries.

The corpus is `pydoc_data.topics`: Python's language reference as `help("TOPIC")` shows it. The
questions were written for it by hand; those whose evidence this version of Python words otherwise
are left out and counted.

    python examples/python_reference/corpus.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from pydoc_data.topics import topics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragwright.optimize import Question
    from ragwright.programs import Recipe

LONGEST = 3_500
"""Characters of the topics that the small sample keeps, so that it is indexed in seconds."""
QUESTIONS = Path(__file__).with_name("questions.jsonl")


def collapsed(text: str) -> str:
    """Return the text with every run of white space as one space."""
    return " ".join(text.split())


def holds_evidence(question: dict[str, list[str]]) -> bool:
    """Tell whether this Python's documentation still says what the question asks for."""
    texts = [collapsed(topics.get(document, "")) for document in question["documents"]]
    return all(any(snippet in text for text in texts) for snippet in question["evidence"])


def index_sample(folder: str) -> tuple[Recipe, list[Question]]:
    """Index the shorter topics into a folder; the recipe of that index, and its questions."""
    from ragwright.optimize import read_questions
    from ragwright.programs import Recipe
    from ragwright.programs.build import index_settings
    from ragwright.retrievers import Document
    from ragwright.retrievers.ingest import ingest

    short = {id: text for id, text in topics.items() if len(text) < LONGEST}
    recipe = Recipe.checked({"name": "sample", "index": {"path": f"{folder}/index"}})
    found = [Document(id, text, id) for id, text in sorted(short.items())]
    ingest(found, recipe.index.path, index_settings(recipe))
    asked = read_questions(QUESTIONS).questions
    return recipe, [one for one in asked if set(one.documents) <= set(short)]


def main(folder: Path) -> None:
    """Write `corpus.jsonl` and `questions.jsonl` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = [{"_id": id, "title": id, "text": text} for id, text in sorted(topics.items())]
    questions = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    kept = [question for question in questions if holds_evidence(question)]
    for name, rows in (("corpus.jsonl", documents), ("questions.jsonl", kept)):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / name).write_text("".join(lines), encoding="utf-8")
    print(f"{len(documents)} topics of Python {sys.version.split()[0]} and {len(kept)} questions")
    print(f"{len(questions) - len(kept)} questions left out: their evidence is not in this version")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
