"""Rows of public data sets and other tools are taken over by what their keys are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ragwright.optimize.questions.data import read_questions
from ragwright.optimize.questions.importing import import_questions
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Chunk

TOWER = "It is an old tower of iron. The tower was built in 1889 by an engineer. It is very tall."
CHUNKS = [Chunk("iron_tower.md", 0, len(TOWER), TOWER, {"title": "Iron Tower"})]
ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent / "rows_of_others.jsonl").read_text().splitlines()
]
"""Rows about the tower as others have them: each with what becomes of it."""


def _file(folder: Path, value: Any) -> Path:
    (folder / "set.json").write_text(json.dumps(value))
    return folder / "set.json"


@pytest.mark.parametrize("sample", ROWS, ids=[one["name"] for one in ROWS])
def test_a_row_is_taken_over(tmp_path: Path, sample: dict[str, Any]) -> None:
    told = import_questions(_file(tmp_path, sample["row"]), chunks=CHUNKS)
    (row,) = told.rows
    if sample.get("unanswerable"):
        assert (told.questions, told.unanswerable) == (0, 1)
        return
    assert (told.questions, told.unanswerable, told.unknown) == (1, 0, ())
    assert row.get("answers", []) == sample["answers"]
    assert row.get("evidence", []) == sample["evidence"]
    assert row.get("documents", []) == (["iron_tower.md"] if sample["labelled"] else [])


CONVERSATIONS = [
    {"source": "x", "story": TOWER, "questions": ["When?", "By whom?"],
     "answers": {"input_text": ["1889", "an engineer"], "answer_start": [51, 56]}},
    {"context": TOWER, "turn_ids": ["1#0"], "questions": ["When?"],
     "answers": {"texts": [["1889"]], "answer_starts": [[51]]}},
]  # fmt: skip


@pytest.mark.parametrize("row", CONVERSATIONS)
def test_questions_of_a_conversation_are_refused_by_name(tmp_path: Path, row: Any) -> None:
    with pytest.raises(InputError, match=r"set\.json:1: .*lean on those before"):
        import_questions(_file(tmp_path, [row]))


@pytest.mark.parametrize("row", [
    {"question": "When?", "anwser": "1889"},
    {"question": "When?", "id": "1", "score": 0.5},
    {"prompt": "When?", "tags": ["a"]},
])  # fmt: skip
def test_a_row_whose_answer_is_not_known_does_not_count_as_unanswerable(
    tmp_path: Path, row: Any
) -> None:
    with pytest.raises(InputError, match="no key of it is known to hold an answer: "):
        import_questions(_file(tmp_path, [row]))


def test_a_row_without_a_question_says_which_keys_it_has(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hold a question: name, answer"):
        import_questions(_file(tmp_path, [{"name": "x", "answer": "1889"}]))


def test_a_compile_still_refuses_a_key_it_does_not_know(tmp_path: Path) -> None:
    file = _file(tmp_path, [{"question": "When?", "answer": "1889", "evidense": "x"}])
    with pytest.raises(InputError, match="evidense: Extra inputs"):
        read_questions(file)
