"""Training sets of other tools: two rows of each format, as its authors write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest

from ragwright.optimize.questions.checking import refuse_unknown
from ragwright.optimize.questions.data import Question, from_examples, read_questions
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.types import Document

TEXT = "It is old. The tower was built in 1889. It is tall."
AT = TEXT.index("1889")
PARAGRAPH = {
    "context": TEXT,
    "qas": [
        {"id": "1", "question": "When?", "answers": [{"text": "1889", "answer_start": AT}]},
        {"id": "2", "question": "Who?", "answers": [], "is_impossible": True},
    ],
}
FACTS = {"supporting_facts": [["Tower", 1]], "context": [["Tower", ["It is old.", "Built 1889."]]]}
HUB_FACTS = {
    "supporting_facts": {"title": ["Tower"], "sent_id": [1]},
    "context": {"title": ["Tower"], "sentences": [["It is old.", "Built 1889."]]},
}
ROWS: dict[str, dict[str, Any]] = {
    "squad": {"id": "1", "title": "T", "question": "When?", "context": TEXT,
              "answers": {"text": ["1889"], "answer_start": [AT]}},
    "hotpot": {"_id": "1", "question": "When?", "answer": "1889", "type": "bridge", **FACTS},
    "hotpot on the hub": {"id": "1", "question": "When?", "answer": "1889", **HUB_FACTS},
    "2wiki": {"_id": "1", "question": "When?", "answer": "1889", "type": "inference", **FACTS,
              "evidences": [["Tower", "built", "1889"]]},
    "musique": {"id": "1", "question": "When?", "answer": "1889", "answer_aliases": ["in 1889"],
                "answerable": True, "question_decomposition": [], "paragraphs": [
                    {"idx": 0, "title": "Tower", "paragraph_text": TEXT, "is_supporting": True},
                    {"idx": 1, "title": "X", "paragraph_text": "Y", "is_supporting": False}]},
    "nq-open": {"question": "When?", "answer": ["1889", "in 1889"]},
    "ragas": {"user_input": "When?", "reference": "1889", "reference_contexts": [TEXT],
              "synthesizer_name": "single_hop"},
    "ragas 0.1": {"question": "When?", "ground_truth": "1889", "contexts": [TEXT]},
    "autorag": {"qid": "1", "query": "When?", "retrieval_gt": [["Tower"]],
                "generation_gt": ["1889"]},
    "mlflow": {"inputs": {"question": "When?"}, "expectations": {
        "expected_response": "1889", "expected_retrieved_context": [{"doc_uri": "Tower"}]}},
    "mlflow flat": {"inputs": "When?", "ground_truth": "1889"},
    "nulls": {"question": "When?", "answer": "1889", "evidence": None, "documents": None},
    "texts": {"question": "When?", "answers": "1889", "documents": "Tower", "evidence": TEXT},
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_another_tool_is_a_question(tmp_path: Path, name: str) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text(json.dumps(ROWS[name]) + "\n\n")
    (question,) = read_questions(file).questions
    assert (question.question, question.answers[0]) == ("When?", "1889")
    if set(ROWS[name]) & {"supporting_facts", "paragraphs", "retrieval_gt"}:
        assert question.documents == ("Tower",)
    assert not question.evidence or "1889" in question.evidence[0]


def test_squad_as_published_keeps_the_sentence_and_counts_what_nothing_answers(
    tmp_path: Path,
) -> None:
    file = tmp_path / "dev-v2.0.json"
    file.write_text(json.dumps({"data": [{"title": "T", "paragraphs": [PARAGRAPH]}]}))
    found = read_questions(file)
    (question,) = found.questions
    assert question.evidence == ("The tower was built in 1889.",)
    assert (question.group, found.unanswerable) == ("T", 1)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    examples = {"examples": [{"query": "When?", "reference_answer": "1889",
                              "reference_contexts": [TEXT]}]}  # fmt: skip
    (tmp_path / "llama.json").write_text(json.dumps(examples))
    (tmp_path / "list.json").write_text(json.dumps([ROWS["nq-open"]], indent=1))
    (tmp_path / "t.csv").write_text('question,answers,id\nWhen?,"[""1889""]",1\n')
    parquet.write_table(pyarrow.Table.from_pylist([ROWS["autorag"]]), tmp_path / "qa.parquet")
    for name in ("llama.json", "list.json", "t.csv", "qa.parquet"):
        (question,) = read_questions(tmp_path / name).questions
        assert (question.question, question.answers[0]) == ("When?", "1889")


def test_a_folder_of_beir(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td1\t1\n2\td2\t0\n")
    rows = [{"_id": "1", "text": "When?", "answer": "1889"}, {"_id": "2", "text": "Who?"}]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (question,) = read_questions(tmp_path).questions
    assert (question.id, question.documents) == ("1", ("d1",))


def test_two_equal_questions_without_ids_are_one(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text((json.dumps(ROWS["nq-open"]) + "\n") * 2)
    found = read_questions(file)
    assert (len(found.questions), found.duplicates) == (1, 1)


def test_documents_that_the_index_lacks_are_said_with_the_nearest(tmp_path: Path) -> None:
    ingest([Document("amber/gate.md", "x")], tmp_path / "ix", IndexSettings(embedder="hash"))
    index = open_index(tmp_path / "ix")
    wrong = Question("1", "a?", ("b",), documents=("amber\\gate.md",))
    with pytest.raises(InputError, match=r"1 of 1 questions name .*nearest: 'amber/gate\.md'"):
        refuse_unknown([wrong], index)
    refuse_unknown([wrong, Question("2", "a?", ("b",), documents=("amber/gate.md",))], index)
    refuse_unknown([Question("3", "a?", ("b",))], index)
    close_index(tmp_path / "ix")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (True, ("true",)),
        (False, ("false",)),
        (0, ("0",)),
        (-2.5, ("-2.5",)),
        (10**30, ("1" + 30 * "0",)),
        ([1889, True, None, "in 1889"], ("1889", "true", "in 1889")),
    ],
)
@pytest.mark.parametrize("key", ["answer", "answers"])
def test_numbers_and_truth_values_are_answers_as_they_stand(
    tmp_path: Path, key: str, given: object, wanted: tuple[str, ...]
) -> None:
    rows: list[dict[str, object]] = [
        {"question": "When?", key: given, "documents": 7, "evidence": 1889},
        {"user_input": "And then?", "reference": given},
        {"question": "Which?", "context": TEXT, "answers": {"text": [given], "answer_start": [0]}},
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ours, *others = read_questions(tmp_path / "t.jsonl").questions
    assert (ours.answers, ours.documents, ours.evidence) == (wanted, ("7",), ("1889",))
    assert [other.answers for other in others] == [wanted, wanted]
    found = from_examples([dspy.Example(question="When?", answer=given).with_inputs("question")])
    assert found[0].answers == wanted


@pytest.mark.parametrize("given", [{"a": 1}, [{"a": 1}], [[]], [" "]])
def test_what_is_no_answer_is_refused_by_line(tmp_path: Path, given: object) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"question": "When?", "answer": given}) + "\n")
    with pytest.raises(InputError, match=r"t\.jsonl:1"):
        read_questions(tmp_path / "t.jsonl")


LONG = "x" * 200_000


@pytest.mark.parametrize(
    ("table", "answers", "evidence"),
    [
        ("question;answer\nWhen?;In May, 1889\n", ("In May, 1889",), ()),
        ("Question\tAnswer\nWhen?\t1889\n", ("1889",), ()),
        ("question, answer\nWhen?,1889,,\n", ("1889",), ()),
        ("question,answer\nWhen?,a\u2028b\n", ("a\u2028b",), ()),
        (f"question,answer,evidence\nWhen?,1889,{LONG}\n", ("1889",), (LONG,)),
        ("question,answers\nWhen?,\"['1889', 'in ''89']\"\n".replace("''", "\\'"),
         ("1889", "in '89"), ()),
        ("user_input,reference,reference_contexts\nWhen?,1889,\"['In 1889.', \"\"it's so\"\"]\"\n",
         ("1889",), ("In 1889.", "it's so")),
        ("question,answer,evidence\nWhen?,1889,\"['In 1889.'\n 'Built.']\"\n",
         ("1889",), ("In 1889.", "Built.")),
        ("question,answer\nWhen?,[1889\n", ("[1889",), ()),
    ],
)  # fmt: skip
def test_a_table_of_questions_is_read_whichever_program_wrote_it(
    tmp_path: Path, table: str, answers: tuple[str, ...], evidence: tuple[str, ...]
) -> None:
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    (question,) = read_questions(tmp_path / "t.csv").questions
    assert (question.question, question.answers, question.evidence) == ("When?", answers, evidence)


@pytest.mark.parametrize(
    ("row", "answers", "evidence"),
    [
        ({"user_input": "When?", "reference": "[1889]", "contexts": "['In 1889.', \"it's\"]"},
         ("[1889]",), ("In 1889.", "it's")),
        ({"question": "When?", "contexts": '["In 1889."]', "ground_truth": "['1889']"},
         ("1889",), ("In 1889.",)),
        ({"question": "When?", "answers": "[1889", "evidence": "['open"}, ("[1889",), ("['open",)),
    ],
)  # fmt: skip
def test_a_list_that_json_holds_as_text_is_a_list(
    tmp_path: Path, row: dict[str, str], answers: tuple[str, ...], evidence: tuple[str, ...]
) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    (question,) = read_questions(tmp_path / "t.jsonl").questions
    assert (question.question, question.answers, question.evidence) == ("When?", answers, evidence)


def test_a_row_of_more_cells_than_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("question,answer\nWhen?,In May, 1889\n")
    with pytest.raises(InputError, match=r"t\.csv:1: it has 3 cells"):
        read_questions(tmp_path / "t.csv")
