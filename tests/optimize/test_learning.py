"""What is learned gets through the gate where it helps, and only there; it is saved and answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from typer.testing import CliRunner

from ragwright.artifacts import load, save
from ragwright.artifacts.cli import app
from ragwright.artifacts.learned import sources_of
from ragwright.optimize import CompileResult, compile_program
from ragwright.optimize.joint import JointOptimizer
from ragwright.optimize.questions.data import Question
from ragwright.optimize.retrieval.crossfit import make_folds
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.lm import build_lm
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import ArtifactError
from ragwright.retrievers.index import IndexSettings, close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

NICKNAMES = ("amber wolf of Bram", "brass lark of Cole", "coral moth of Dunn", "dusky hare of Esk",
             "early crow of Fenn", "frost newt of Gale", "green toad of Hull", "happy mole of Ives",
             "ivory wren of Jura", "jolly seal of Kent")  # fmt: skip
OPENERS = ("When did the", "Since when did the", "Tell me when the", "What year saw the",
           "How early did the", "On what date did the")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Machines, which their documents call by number and every question by its nickname."""
    root = tmp_path_factory.mktemp("learning")
    documents = [
        Document(f"m{n}", f"Machine {n}{n} was started in {1900 + 3 * n}. It stands in hall {n}.")
        for n in range(len(NICKNAMES))
    ]
    ingest(documents, root / "index", IndexSettings(embedder="hash"))
    rows = [
        {"id": f"{n}-{place}", "question": f"{opener} {nickname} start?",
         "answer": str(1900 + 3 * n), "document": f"m{n}"}
        for n, nickname in enumerate(NICKNAMES)
        for place, opener in enumerate(OPENERS)
    ]  # fmt: skip
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "questions.jsonl").write_text(lines, encoding="utf-8")
    yield root
    close_index(root / "index")


def compiled(folder: Path, run: Path, split: str, **section: Any) -> CompileResult:
    compile_section = {"retrieval_trials": 8, "threads": 2, "optimizer": "none", "shortlist": 1,
                       "learn": ["questions", "adapter"]}  # fmt: skip
    table = {
        "name": "machines",
        "program": {"kind": "hybrid"},
        "index": {"path": str(folder / "index"), "embedder": "hash"},
        "data": {"trainset": str(folder / "questions.jsonl"), "split": split},
        "compile": compile_section | section,
    }
    return compile_program(Recipe.checked(table), run_dir=run)


@pytest.fixture(scope="module")
def again(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> CompileResult:
    """Compiled for a future that comes back to the same machines."""
    return compiled(folder, tmp_path_factory.mktemp("run"), "question")


def test_where_documents_come_back_known_questions_are_kept(again: CompileResult) -> None:
    (questions, adapter) = again.sources
    assert (questions.name, adapter.name) == ("questions", "adapter")
    assert questions.kept
    assert questions.gain is not None
    assert questions.gain.low > 0
    assert again.knobs.weight("questions") > 0
    assert [one.name for one in questions.familiar] == ["seen", "unseen"]
    rows = {row.name: row.means["ndcg@10"] for row in again.retrieval}
    assert rows["compiled"] > rows["baseline"] + 0.3
    assert any("'questions' is kept" in note for note in again.notes)


def test_where_none_comes_back_nothing_is_kept(folder: Path, tmp_path: Path) -> None:
    learning = compiled(folder, tmp_path / "run", "document")
    assert [one.kept for one in learning.sources] == [False, False]
    assert all("did not help" in one.why for one in learning.sources)
    assert sources_of(learning.program) == {}
    assert not learning.knobs.weight("questions") + learning.knobs.weight("adapter")


class Own(dspy.Module):
    """A program of one's own that reads what a stage finds."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.search = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(context=self.search(question, 2).passages, question=question)


@pytest.mark.slow
def test_a_program_of_ones_own_learns_and_is_saved_too(folder: Path, tmp_path: Path) -> None:
    rows = map(json.loads, (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines())
    examples = [
        dspy.Example(question=row["question"], answer=row["answer"],
                     documents=[row["document"]]).with_inputs("question")
        for row in rows
    ]  # fmt: skip
    lm = build_lm("extractive")
    joint = JointOptimizer(
        metric="answer_f1", prompts=None, lm=lm, run_dir=tmp_path / "run", split="question",
        learn=["questions"], retrieval_trials=4, shortlist=1, threads=2,
    )  # fmt: skip
    compiled = joint.compile(Own(str(folder / "index")), trainset=examples)
    assert [one.kept for one in compiled.compile_result.sources] == [True]
    save(compiled, tmp_path / "artifact")
    loaded = load(tmp_path / "artifact", program=Own(str(folder / "index")), lm=lm)
    asked = "Pray, when did the brass lark of Cole start?"
    found = [one.id for one in loaded.search(asked).passages]
    assert found == [one.id for one in compiled.search(asked).passages]
    assert loaded.search(asked).passages[0].document == "m1"


def test_an_artifact_keeps_it(again: CompileResult, tmp_path: Path) -> None:
    version = save(again.program, tmp_path / "artifact", recipe=again.recipe)
    assert (version / "learned.json").exists()
    loaded = load(tmp_path / "artifact")
    asked = "Pray, when did the brass lark of Cole start?"
    found = [one.id for one in loaded.retriever(asked).passages]
    assert found == [one.id for one in again.program.retriever(asked).passages]
    assert loaded.retriever(asked).passages[0].document == "m1"
    shown = CliRunner().invoke(app, ["show", str(tmp_path / "artifact")])
    assert "known questions" in shown.output


@pytest.mark.parametrize("harm", ["byte", "gone", "other"])
def test_a_damaged_file_of_it_is_refused(again: CompileResult, tmp_path: Path, harm: str) -> None:
    version = save(again.program, tmp_path / "artifact", recipe=again.recipe)
    file = version / "learned" / "0.safetensors"
    if harm == "gone":
        shutil.rmtree(version / "learned")
    elif harm == "byte":
        file.write_bytes(file.read_bytes()[:-3])
    else:
        (version / "learned.json").write_text('[{"knobs": "knobs", "source": "pickle"}]')
    with pytest.raises(ArtifactError):
        load(tmp_path / "artifact")


def test_by_time_only_earlier_folds_are_learned_from() -> None:
    questions = [Question(f"q{n}", f"What {n}?", ("a",), time=str(99 - n)) for n in range(20)]
    folds = make_folds(questions, "time", 0)
    assert folds.numbers == tuple(4 - n // 4 for n in range(20))
    assert folds.learned_from(0) == []
    assert folds.learned_from(1) == [16, 17, 18, 19]


def test_by_document_a_group_stands_together() -> None:
    questions = [Question(f"q{n}", "?", ("a",), group=f"g{n % 7}") for n in range(70)]
    folds = make_folds(questions, "document", 3)
    pairs = {(one.group, fold) for one, fold in zip(questions, folds.numbers, strict=True)}
    assert len(pairs) == 7
