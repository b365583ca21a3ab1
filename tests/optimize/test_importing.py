"""Training sets of other tools: two rows of each form, as published, taken over onto an index."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.optimize.questions.data import read_questions
from ragwright.optimize.questions.formats import FORMS
from ragwright.optimize.questions.importing import ImportedSet, import_questions
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.types import Chunk, Document

TOWER = "It is an old tower of iron. The tower was built in 1889 by an engineer. It is very tall."
BRIDGE = "A bridge of stone crosses the river. The bridge was opened in 1933 by a mayor."
AT = TOWER.index("1889")
CHUNKS = [
    Chunk("wiki/iron_tower.md", 0, len(TOWER), TOWER, {"title": "Iron Tower"}),
    Chunk("wiki/7.md", 0, len(BRIDGE), BRIDGE, {"title": "Stone Bridge"}),
]
CONTEXT = [["Iron Tower", TOWER.split(". ")], ["Stone Bridge", BRIDGE.split(". ")]]
FACTS = [["Iron Tower", 1]]


def _lines(rows: list[Any]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        file = folder / "set.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file

    return write


def _whole(value: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "set.json").write_text(json.dumps(value))
        return folder / "set.json"

    return write


def _beir(folder: Path) -> Path:
    texts = [{"_id": "9", "title": "", "text": TOWER}, {"_id": "8", "title": "", "text": BRIDGE}]
    asked = [{"_id": "1", "text": "When?"}, {"_id": "2", "text": "Which river?"}]
    for name, rows in (("corpus", texts), ("queries", asked)):
        lines = (json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "qrels").mkdir()
    judged = "query-id\tcorpus-id\tscore\n1\t9\t1\n2\t8\t1\n"
    (folder / "qrels" / "test.tsv").write_text(judged)
    return folder


def _autorag(folder: Path) -> Path:
    import pyarrow
    from pyarrow import parquet

    rows = [
        {"qid": "1", "query": "When?", "retrieval_gt": [["Iron Tower"]], "generation_gt": ["1889"]},
        {"qid": "2", "query": "Who?", "retrieval_gt": [["Stone Bridge"]], "generation_gt": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "qa.parquet")
    return folder / "qa.parquet"


PARAGRAPHS = [
    {"idx": 0, "title": "Iron Tower", "paragraph_text": TOWER, "is_supporting": True},
    {"idx": 1, "title": "Stone Bridge", "paragraph_text": BRIDGE, "is_supporting": False},
]
SQUAD1 = {"context": TOWER, "qas": [
    {"id": "1", "question": "When?", "answers": [{"text": "1889", "answer_start": AT}]},
    {"id": "2", "question": "Of what?", "answers": [
        {"text": "iron", "answer_start": TOWER.index("iron")}]}]}  # fmt: skip
SQUAD2 = {"context": TOWER, "qas": [
    {"id": "1", "question": "When?", "is_impossible": False,
     "answers": [{"text": "1889", "answer_start": AT}]},
    {"id": "2", "question": "Who?", "answers": [], "is_impossible": True,
     "plausible_answers": [{"text": "an engineer", "answer_start": 60}]}]}  # fmt: skip
EXPECTED = {"expected_response": "1889",
            "expected_retrieved_context": [{"doc_uri": "dbfs:/x/9", "content": TOWER}]}  # fmt: skip
# By name: how it is written, the form it has, questions, unanswerable ones, ones without an answer.
SAMPLES: dict[str, tuple[Callable[[Path], Path], str, int, int, int]] = {
    "squad 1": (_whole({"version": "1.1", "data": [{"title": "T", "paragraphs": [SQUAD1]}]}),
                "squad", 2, 0, 0),
    "squad 2": (_whole({"version": "v2.0", "data": [{"title": "T", "paragraphs": [SQUAD2]}]}),
                "squad", 1, 1, 0),
    "squad of the hub": (_lines([
        {"id": "1", "title": "T", "context": TOWER, "question": "When?",
         "answers": {"text": ["1889"], "answer_start": [AT]}},
        {"id": "2", "title": "T", "context": TOWER, "question": "Who?",
         "answers": {"text": [], "answer_start": []}}]), "squad", 1, 1, 0),
    "hotpotqa": (_lines([
        {"_id": "1", "question": "When?", "answer": "1889", "type": "bridge", "level": "hard",
         "supporting_facts": FACTS, "context": CONTEXT},
        {"_id": "2", "question": "Who?", "context": CONTEXT}]), "hotpotqa", 1, 1, 0),
    "2wiki": (_lines([
        {"_id": "1", "type": "inference", "question": "When?", "context": CONTEXT,
         "supporting_facts": FACTS, "evidences": [["Tower", "built", "1889"]], "answer": "1889"},
        {"_id": "2", "type": None, "question": "Who?", "context": CONTEXT,
         "supporting_facts": None, "evidences": None, "answer": None}]), "2wiki", 1, 1, 0),
    "musique": (_lines([
        {"id": "2hop__1", "paragraphs": PARAGRAPHS, "question": "When?", "answer": "1889",
         "question_decomposition": [], "answer_aliases": [], "answerable": True},
        {"id": "2hop__2", "paragraphs": PARAGRAPHS, "question": "Who?", "answer": "X",
         "question_decomposition": [], "answer_aliases": [], "answerable": False}]),
        "musique", 1, 1, 0),
    "nq-open": (_lines([{"question": "When?", "answer": ["1889", "in 1889"]},
                        {"question": "Who?", "answer": []}]), "nq-open", 1, 1, 0),
    "beir": (_beir, "beir", 2, 0, 2),
    "ragas": (_lines([
        {"user_input": "When?", "reference_contexts": [TOWER], "reference": "1889",
         "synthesizer_name": "single_hop_specific_query_synthesizer"},
        {"user_input": "Which river?", "reference_contexts": [BRIDGE], "reference": None,
         "synthesizer_name": "x"}]), "ragas", 2, 0, 1),
    "llamaindex": (_whole({"class_name": "LabelledRagDataset", "examples": [
        {"query": "When?", "query_by": {"model_name": "m", "type": "ai"},
         "reference_answer": "1889", "reference_answer_by": None, "reference_contexts": [TOWER]},
        {"query": "Which river?", "query_by": None, "reference_answer": None,
         "reference_answer_by": None, "reference_contexts": [BRIDGE]}]}), "llamaindex", 2, 0, 1),
    "llamaindex pairs": (_whole({
        "queries": {"q1": "When?", "q2": "Which river?"},
        "corpus": {"node-1": TOWER, "node-2": BRIDGE},
        "relevant_docs": {"q1": ["node-1"], "q2": ["node-2"]}, "mode": "text"}),
        "ragwright", 2, 0, 2),
    "autorag": (_autorag, "autorag", 2, 0, 1),
    "mlflow": (_lines([
        {"inputs": {"question": "When?"}, "expectations": EXPECTED, "tags": None},
        {"inputs": {"messages": [{"role": "user", "content": "Who?"}]}, "expectations": None}]),
        "mlflow", 1, 1, 0),
    "feedback": (_lines([
        {"id": "a", "question": "When?", "answer": "1889", "documents": ["wiki/iron_tower.md"]},
        {"id": "b", "question": "Who?", "answer": "an engineer", "evidence": None}]),
        "ragwright", 2, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_two_rows_of_every_form_are_taken_over(tmp_path: Path, name: str) -> None:
    write, form, questions, unanswerable, unanswered = SAMPLES[name]
    file = write(tmp_path)
    told = import_questions(file, chunks=CHUNKS)
    assert import_questions(file, form=form, chunks=CHUNKS) == told
    assert (told.questions, told.unanswerable) == (questions, unanswerable)
    assert (told.unanswered, told.unknown) == (unanswered, ())
    first = told.rows[0]
    assert first["question"] == "When?"
    assert first.get("answers", ["1889"])[0] == "1889"
    if name != "nq-open":  # it names nothing
        assert first["documents"] == ["wiki/iron_tower.md"]
    assert len(_read(told, tmp_path).questions) == questions


def _read(told: ImportedSet, folder: Path) -> Any:
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told.rows))
    found = read_questions(folder / "own.jsonl", answered=False)
    assert found.unanswerable == told.unanswerable
    return found


def test_what_the_index_lacks_is_said_and_what_repeats_is_counted(tmp_path: Path) -> None:
    row = {"question": "When?", "answer": "1889", "documents": ["Opera House"], "id": "1"}
    file = _lines([row, row, {**row, "question": "Who?"}])(tmp_path)
    done = import_questions(file, chunks=CHUNKS)
    assert (done.questions, done.duplicates, len(done.unknown)) == (2, 1, 2)
    assert done.rows[0]["documents"] == ["Opera House"]
    assert len({row["id"] for row in done.rows}) == 2


def test_a_form_that_is_unknown_or_wrong_is_an_error(tmp_path: Path) -> None:
    file = _lines([{"question": "When?", "answer": "1889"}])(tmp_path)
    with pytest.raises(InputError, match=f"no format 'squat'.*one of .*{FORMS[0]}"):
        import_questions(file, form="squat")
    with pytest.raises(InputError, match=r"set\.jsonl:1: .*not in its form"):
        import_questions(file, form="musique")


def test_the_command_writes_what_check_and_study_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {chunk.document_id: chunk for chunk in CHUNKS}
    documents = [Document(id, one.text, one.metadata["title"]) for id, one in texts.items()]
    ingest(documents, tmp_path / "ix", IndexSettings(embedder="hash"))
    assert open_index(tmp_path / "ix").count == 2
    Path("recipe.toml").write_text(
        '[index]\npath = "ix"\nembedder = "hash"\n[data]\ntrainset = "own.jsonl"\n'
    )
    said = CliRunner().invoke(app, ["questions", "import", str(SAMPLES["ragas"][0](tmp_path))])
    assert said.exit_code == 0, said.output
    assert "2 questions in own.jsonl" in said.stdout
    assert "next: rag questions check recipe.toml own.jsonl" in said.stdout
    again = CliRunner().invoke(app, ["questions", "import", "set.jsonl"])
    assert again.exit_code == 2
    checked = CliRunner().invoke(app, ["questions", "check", "recipe.toml", "--json"])
    assert json.loads(checked.stdout)["problems"] == []
    close_index(tmp_path / "ix")


def test_a_table_that_people_made_is_taken_over(tmp_path: Path) -> None:
    """Cells may be empty, and a document is named by its file, whatever folder it lies in."""
    file = tmp_path / "fragen.csv"
    file.write_text(
        "Frage;Antwort;Dokument\n"
        "Wo war es?;in Lima;bericht 2023.odt\n"
        "Wann war es?;1889;gone.odt\n"
        "Wer war es?;;\n"
        ";;\n"
        "Was war es?;;bericht 2023.odt\n"
    )
    chunks = [Chunk("archiv/bericht 2023.odt", 0, 9, "in Lima, im Mai", {"title": "B"})]
    told = import_questions(file, chunks=chunks)
    assert (told.questions, told.unanswerable, told.unanswered) == (3, 1, 1)
    assert [row.get("documents") for row in told.rows] == [
        ["archiv/bericht 2023.odt"],
        None,
        ["archiv/bericht 2023.odt"],
        None,
    ]
    assert len(told.unknown) == 1


@pytest.mark.parametrize(
    ("named", "ids"),
    [
        ("./kb/leave.md", ["leave.md"]),
        ("C:\\kb\\leave.md", ["leave.md"]),
        ("https://example.org/kb/leave.md?raw=1#days", ["leave.md"]),
        ("/srv/2024/plan.md", ["2024/plan.md"]),
        ("/srv/plan.md", None),
        ("sick/leave", None),
    ],
)
def test_a_path_of_another_machine_ends_with_the_document(
    tmp_path: Path, named: str, ids: list[str] | None
) -> None:
    row = {"question": "How many days?", "answer": "30", "documents": [named]}
    chunks = [Chunk(id, 0, 4, "text") for id in ("leave.md", "2024/plan.md", "2023/plan.md")]
    (tmp_path / "set.jsonl").write_text(json.dumps(row))
    told = import_questions(tmp_path / "set.jsonl", chunks=chunks)
    assert told.rows[0]["documents"] == (ids or [named])
    assert bool(told.unknown) == (ids is None)
