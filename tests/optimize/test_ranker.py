"""A ranker is kept where it helps on questions it was not learned from, and then it stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ragwright.artifacts import load, save
from ragwright.artifacts.learned import sources_of
from ragwright.optimize import CompileResult, compile_program, write_report
from ragwright.optimize.questions.data import read_questions
from ragwright.programs.learned import Ranker
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import MissingExtra
from ragwright.retrievers.index import IndexSettings, close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

COUNT = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Machines with a card of few words, and a page, a little longer, that tells the year."""
    root = tmp_path_factory.mktemp("ranking")
    documents = [
        Document(f"{kind}{n}", text)
        for n in range(COUNT)
        for kind, text in (
            ("card", f"Machine {n}q: year, start."),
            ("page", f"Machine {n}q: year, start, {1900 + n}, by its keeper."),
        )
    ]
    ingest(documents, root / "index", IndexSettings(embedder="hash"))
    for wanted in ("page", "either"):
        rng = np.random.default_rng(0)
        kinds = [wanted if wanted == "page" else rng.choice(["card", "page"]) for _ in range(COUNT)]
        rows = [{"question": f"In which year did machine {n}q start?", "answer": str(1900 + n),
                 "document": f"{kind}{n}"} for n, kind in enumerate(kinds)]  # fmt: skip
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (root / f"{wanted}.jsonl").write_text(lines, encoding="utf-8")
    yield root
    close_index(root / "index")


def compiled(folder: Path, run: Path, wanted: str, most: int = COUNT) -> CompileResult:
    table = {
        "name": "machines",
        "index": {"path": str(folder / "index"), "embedder": "hash"},
        "data": {"trainset": str(folder / f"{wanted}.jsonl"), "split": "question"},
        "knobs": {"k": 1}, "baseline": {"k": 1},
        "compile": {"retrieval_trials": 8, "threads": 2, "optimizer": "none", "shortlist": 1,
                    "learn": ["questions", "ranker"]},
    }  # fmt: skip
    rows = read_questions(folder / f"{wanted}.jsonl").questions[:most]
    return compile_program(Recipe.checked(table), rows, run_dir=run)


@pytest.fixture(scope="module")
def result(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> CompileResult:
    return compiled(folder, tmp_path_factory.mktemp("run"), "page")


def test_it_is_kept_where_it_helps(result: CompileResult) -> None:
    questions, ranker = result.sources
    assert (questions.name, ranker.name) == ("questions", "ranker")
    assert (questions.kept, ranker.kept) == (False, True)
    assert ranker.gain is not None
    assert ranker.gain.low > 0.1
    assert result.knobs.weight("ranker") > 0
    rows = {row.name: row.means["ndcg@10"] for row in result.retrieval}
    assert rows["compiled"] > rows["hybrid + MaxSim"] + 0.1
    assert any("The learned 'ranker' is kept" in note for note in result.notes)


def test_an_artifact_keeps_it(result: CompileResult, tmp_path: Path) -> None:
    version = save(result.program, tmp_path / "artifact", recipe=result.recipe)
    kept = json.loads((version / "learned.json").read_text(encoding="utf-8"))
    assert [one["source"] for one in kept] == ["ranker"]
    loaded = load(tmp_path / "artifact")
    ((part,),) = sources_of(loaded).values()
    assert isinstance(part, Ranker)
    first = 0
    for n in range(0, COUNT, 6):
        asked = f"In which year did machine {n}q start?"
        found = loaded.retriever(asked)
        assert found.ids == result.program.retriever(asked).ids
        first += found.passages[0].document == f"page{n}"
    assert first >= 18
    report = write_report(result, tmp_path / "report") / "report.md"
    assert "'ranker' is kept" in report.read_text(encoding="utf-8")


def test_where_nothing_can_be_learned_it_is_not_kept(folder: Path, tmp_path: Path) -> None:
    done = compiled(folder, tmp_path / "run", "either")
    (ranker,) = (one for one in done.sources if one.name == "ranker")
    assert not ranker.kept
    assert "did not help" in ranker.why
    assert sources_of(done.program) == {}
    assert not done.knobs.weight("ranker")


def test_with_few_questions_it_is_not_tried(folder: Path, tmp_path: Path) -> None:
    done = compiled(folder, tmp_path / "run", "page", most=60)
    (ranker,) = (one for one in done.sources if one.name == "ranker")
    assert (ranker.kept, ranker.gain) == (False, None)
    assert "40 are needed" in ranker.told


def test_it_takes_lightgbm(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "lightgbm" else 1)
    with pytest.raises(MissingExtra, match="lightgbm"):
        compiled(folder, tmp_path / "run", "page")
