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


ASKED = {"question": "When?", "answer": "1889"}
OTHER = {"question": "By whom?", "answer": "an engineer"}
SETS: dict[str, Any] = {
    "by id": {"17": ASKED, "18": OTHER},
    "by column": {"question": ["When?", "By whom?"], "answer": ["1889", "an engineer"]},
    "lists side by side": {"questions": ["When?", "By whom?"], "answers": ["1889", "an engineer"]},
    "pandas, by column": {"question": {"0": "When?", "1": "By whom?"},
                          "answer": {"0": "1889", "1": "an engineer"}},
    "pandas, split": {"columns": ["question", "answer"], "index": [0, 1],
                      "data": [["When?", "1889"], ["By whom?", "an engineer"]]},
    "pandas, table": {"schema": {"fields": []}, "data": [ASKED, OTHER]},
    "by side": {"train": [ASKED], "validation": [OTHER]},
    "under a name": {"version": 2, "items": [ASKED, OTHER]},
    "of the hub's server": {"features": [{"name": "question"}], "rows": [
        {"row_idx": 0, "row": ASKED}, {"row_idx": 1, "row": OTHER}]},
    "of promptfoo": {"prompts": ["{{q}}"], "providers": [{"id": "x"}], "tests": [
        {"vars": {"question": one["question"]},
         "assert": [{"type": "equals", "value": one["answer"]}]} for one in (ASKED, OTHER)]},
}  # fmt: skip
"""Ways in which one value of JSON holds two rows."""


@pytest.mark.parametrize("kind", ["json", "yaml"])
@pytest.mark.parametrize("shape", SETS)
def test_a_set_is_read_whatever_holds_its_rows(tmp_path: Path, shape: str, kind: str) -> None:
    file = _file(tmp_path, SETS[shape]).rename(tmp_path / f"set.{kind}")
    told = import_questions(file)
    found = [(row["question"], *row["answers"]) for row in told.rows]
    assert found == [("When?", "1889"), ("By whom?", "an engineer")]
    sides = [row.get("split") for row in told.rows]
    assert sides == (["train", "dev"] if shape == "by side" else [None, None])


def test_a_table_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.create_sheet("questions")  # the first sheet is empty
    for row in ([None, None], [" Question ", "Answer"], ["When?", 1889], [None, None]):
        sheet.append(row)
    book.save(tmp_path / "set.xlsx")
    assert read_questions(tmp_path / "set.xlsx").questions[0].answers == ("1889",)


@pytest.mark.parametrize(("name", "content"), [
    ("set.xlsx", b"PK\x03\x04 no book"), ("set.xlsx", b""), ("set.yaml", b"a: [1, }"),
    ("set.yaml", b"[" * 3000), ("set.yaml", b"- !!python/object/apply:os.system [ls]"),
    ("set.yaml", b"&a [*a]"), ("set.yaml", b"a: &a [x, x]\nb: &b [*a, *a]"),
    ("set.yaml", b"1: [x]\n2: {3: y}"), ("set.yaml", b"- {1: When?, 2: 1889}"),
])  # fmt: skip
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        import_questions(tmp_path / name)


def test_rows_that_ask_the_same_give_their_labels_to_one_question(tmp_path: Path) -> None:
    rows = [
        {"question": "When?", "answer": "1889", "evidence": "The tower was built in 1889."},
        {"question": "when? ", "answer": "in 1889", "documents": ["iron_tower.md"]},
    ]
    told = import_questions(_file(tmp_path, rows))
    read = read_questions(tmp_path / "set.json")
    assert (len(told.rows), told.duplicates, read.duplicates) == (1, 1, 1)
    assert told.rows[0]["answers"] == ["1889", "in 1889"]
    assert read.questions[0].documents == ("iron_tower.md",)
    assert read.questions[0].evidence == ("The tower was built in 1889.",)


def test_contexts_that_python_wrote_are_read(tmp_path: Path) -> None:
    written = str([{"doc_uuid": "5e", "index": 0, "content": TOWER, "score": None}])
    row = {"query": "When?", "answer": "1889", "golden_chunks": written}
    (found,) = import_questions(_file(tmp_path, [row]), chunks=CHUNKS).rows
    assert found["documents"] == ["iron_tower.md"]


def test_an_error_names_some_keys_of_many(tmp_path: Path) -> None:
    row = {f"key{number}": number for number in range(5000)}
    with pytest.raises(InputError, match="and 4988 more") as said:
        import_questions(_file(tmp_path, row))
    assert len(str(said.value)) < 500


@pytest.mark.parametrize("text", ["[PLUS] is a trial.", "{a} is a set.", "[", "[['x']", "{'a': 1,"])
def test_a_text_that_begins_like_a_list_is_a_text(tmp_path: Path, text: str) -> None:
    row = {"query": text, "reply": "", "expected_output": text, "contexts": [text]}
    (found,) = import_questions(_file(tmp_path, [row])).rows
    assert (found["question"], found["answers"]) == (text, [text])


def test_names_of_documents_are_those_of_the_index_or_files(tmp_path: Path) -> None:
    rows = [
        {"Question": "When?", "Answer": "1889", "Source Docs": "*tower*"},
        {"Question": "Who?", "Answer": "one", "Source Docs": "iron_tower.md, 7.md; other"},
        {"Question": "Why?", "Answer": "so", "Article": "Nobody knows it"},
    ]
    indexed = import_questions(_file(tmp_path, rows), chunks=CHUNKS)
    assert [row.get("documents") for row in indexed.rows] == [["iron_tower.md"]] * 2 + [None]
    alone = import_questions(
        _file(tmp_path, [{**rows[0], "Source Docs": "iron_tower.md"}, rows[2]])
    )
    assert [row.get("documents") for row in alone.rows] == [["iron_tower.md"], None]


def test_a_label_that_is_no_judgement_leaves_the_evidence(tmp_path: Path) -> None:
    row = {"question": "When?", "answer": "1889", "label": "date", "passage": TOWER}
    (found,) = import_questions(_file(tmp_path, [row]), chunks=CHUNKS).rows
    assert found["documents"] == ["iron_tower.md"]


def test_rows_of_yaml_may_stand_under_numbers(tmp_path: Path) -> None:
    (tmp_path / "set.yaml").write_text("17:\n  question: When?\n  answer: 1889\n")
    assert import_questions(tmp_path / "set.yaml").rows[0]["id"] == "17"
