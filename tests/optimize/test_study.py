"""Studies: the figures of the reference implementation, gates, budgets and what is written."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ragwright.optimize.questions.data import read_questions
from ragwright.optimize.study.context import study_context
from ragwright.optimize.study.findings import (
    context_findings,
    reranker_findings,
    retrieval_findings,
)
from ragwright.optimize.study.pooling import StudyQuestions, fetch_study_questions
from ragwright.optimize.study.rerankers import study_rerankers
from ragwright.optimize.study.retrieval import study_retrieval
from ragwright.optimize.study.tracking import Study, track_study
from ragwright.optimize.study.trec import (
    read_judgements,
    read_trec_run,
    trec_judgements,
    trec_run,
    write_judgements,
    write_trec_run,
)
from ragwright.optimize.study.writing import Findings, write_findings
from ragwright.programs.knobs import KnobValues
from ragwright.programs.rerank import CROSS, MaxSim, Reranker
from ragwright.retrievers.errors import CompileError, InputError, RecordFault
from ragwright.retrievers.mlflow_database import make_database

from .conftest import recipe

ROOT = Path(__file__).parents[2]
MEASURES = {
    "ndcg@10": "ndcg_cut_10",
    "recall@5": "recall_5",
    "precision@5": "P_5",
    "hit@5": "success_5",
    "map@10": "map_cut_10",
}


@pytest.fixture(scope="module")
def found(world: Path) -> StudyQuestions:
    return fetch_study_questions(recipe(world), read_questions(world / "questions.jsonl").questions)


def test_figures_by_document_are_those_of_trec_eval(found: StudyQuestions) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    study = study_retrieval(found, metrics=list(MEASURES))
    judged = trec_judgements(found)
    evaluator = pytrec_eval.RelevanceEvaluator(judged, set(MEASURES.values()))
    for way in study.ways:
        theirs = evaluator.evaluate(trec_run(found, way.knobs))
        for ours, name in MEASURES.items():
            wanted = [theirs[question.id][name] for question in found.questions]
            np.testing.assert_allclose(way.scores[f"document {ours}"], wanted, atol=1e-9)


def test_runs_and_judgements_are_read_as_they_were_written(
    found: StudyQuestions, tmp_path: Path
) -> None:
    run, judged = trec_run(found, KnobValues()), trec_judgements(found)
    write_trec_run(run, tmp_path / "a.run", tag="a way")
    write_judgements(judged, tmp_path / "qrels")
    again = read_trec_run(tmp_path / "a.run")
    assert {id: list(ranked) for id, ranked in again.items()} == {
        id: list(ranked) for id, ranked in run.items()
    }
    assert read_judgements(tmp_path / "qrels") == judged
    (tmp_path / "bad.run").write_text("one two\n")
    with pytest.raises(InputError, match=r"bad\.run:1: expected 6 fields, got 2"):
        read_trec_run(tmp_path / "bad.run")


def test_a_second_study_searches_for_nothing(world: Path, found: StudyQuestions) -> None:
    again = fetch_study_questions(recipe(world), found.questions)
    assert (again.fetched, len(again.questions)) == (0, len(found.questions))


@pytest.mark.timeout(300)
def test_a_study_that_is_killed_goes_on(world: Path, found: StudyQuestions, tmp_path: Path) -> None:
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.rglob("*.npz"):
        file.unlink()
    code = """
import os, signal, sys
from pathlib import Path
from ragwright.optimize.questions.data import read_questions
from ragwright.optimize.study import pooling
from tests.optimize.conftest import recipe
def killed(stage, done, total):
    if done == 25:
        os.kill(os.getpid(), signal.SIGKILL)
pooling.SAVED_EVERY = 10
home = Path(sys.argv[1])
questions = read_questions(home / "questions.jsonl").questions
pooling.fetch_study_questions(recipe(home), questions, progress=killed)
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=ROOT)
    assert ended.returncode == -signal.SIGKILL
    again = fetch_study_questions(
        recipe(tmp_path), read_questions(tmp_path / "questions.jsonl").questions
    )
    assert (again.fetched, len(again.questions)) == (
        len(found.questions) - 20,
        len(found.questions),
    )
    assert again.candidates.ids == found.candidates.ids


def test_questions_about_nothing_in_the_index_are_an_error(world: Path, tmp_path: Path) -> None:
    line = {"question": "What?", "answer": "x", "documents": ["nowhere"]}
    (tmp_path / "q.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(CompileError, match="holds nothing that any of 1 questions"):
        fetch_study_questions(recipe(world), read_questions(tmp_path / "q.jsonl").questions)


def test_a_smaller_budget_reads_less_and_fills_less(found: StudyQuestions) -> None:
    study = study_context({"recipe": found}, KnobValues(), budgets=(64, 256), neighbours=(0,))
    small, large = study.rows
    assert small.tokens <= 64 + 30
    assert small.recall <= large.recall
    assert study.chosen.tokens <= study.best.tokens
    assert [loss.gain for loss in study.losses] == pytest.approx([
        row.recall - study.best.recall for row in study.rows
    ])  # fmt: skip
    assert f"context_tokens = {study.chosen.budget}" in study.recipe_lines


def test_where_no_smaller_context_will_do_that_is_said(found: StudyQuestions) -> None:
    study = study_context({"recipe": found}, KnobValues(), budgets=(64, 256), neighbours=(0,))
    whole = replace(study, chosen=study.best)
    assert f"Take {study.best.budget} tokens" in context_findings(whole, "towns").summary
    other = next(row for row in study.rows if row != study.best)
    fewer = replace(study, chosen=other)
    assert f"{other.budget} tokens are enough" in context_findings(fewer, "towns").summary


class Backwards(Reranker):
    """Prefers what stood last."""

    signal = CROSS

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        return [float(place) for place in range(len(ids))]


def test_a_reranker_that_turns_the_order_round_is_found_out(found: StudyQuestions) -> None:
    path = found.recipe.index.path
    rivals = {"maxsim": MaxSim(path), "backwards": Backwards(path)}
    study = study_rerankers(found, rivals, depths=(5, 20))
    (duel,) = study.rivalries
    assert duel.gain.high < 0
    assert not duel.not_worse
    assert [(row.name, row.depth) for row in study.rows] == [
        ("maxsim", 5), ("maxsim", 20), ("backwards", 5), ("backwards", 20),
    ]  # fmt: skip
    assert all(row.p50 <= row.p95 for row in study.rows)


class SlowAtFirst(Backwards):
    """Takes long over a question that it has not met, as one that must be embedded first does."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.met: set[str] = set()

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        if query not in self.met:
            time.sleep(0.002)
            self.met.add(query)
        return super().forward(query, ids)


def test_every_depth_is_timed_with_questions_that_are_new_to_it(found: StudyQuestions) -> None:
    slow = {"slow": SlowAtFirst(found.recipe.index.path)}
    study = study_rerankers(found, slow, depths=(5, 10, 20))
    assert all(row.p50 >= 2 for row in study.rows)


def test_the_fastest_that_is_as_good_is_named(found: StudyQuestions) -> None:
    path = found.recipe.index.path
    rivals = {"slow": SlowAtFirst(path), "quick": Backwards(path)}
    study = study_rerankers(found, rivals, depths=(5,))
    assert (study.fastest.name, study.fastest.depth) == ("quick", 5)
    summary = reranker_findings(study, "towns").summary
    assert "quick at depth 5 is not worse by more than 0.01" in summary
    strict = study_rerankers(found, {"maxsim": MaxSim(path), **rivals}, depths=(20,))
    assert strict.fastest.name == "maxsim"


def test_more_depths_than_questions_are_all_timed(found: StudyQuestions) -> None:
    depths = range(1, len(found.questions) + 3)
    study = study_rerankers(found, {"slow": Backwards(found.recipe.index.path)}, depths=depths)
    assert all(row.pairs_per_second > 0 for row in study.rows)


def test_ways_that_rank_alike_are_said_to(found: StudyQuestions) -> None:
    study = study_retrieval(found, {"the same": KnobValues.dense()})
    same = replace(
        study, ways=tuple(way for way in study.ways if way.name in {"dense", "the same"})
    )
    assert retrieval_findings(same, "towns").summary.startswith("All ways rank alike: ndcg@10 0.")


def test_every_study_is_written_as_page_markdown_and_json(
    found: StudyQuestions, tmp_path: Path
) -> None:
    path = found.recipe.index.path
    rerankers = study_rerankers(found, {"<b>maxsim": MaxSim(path)}, depths=(5,))
    for number, findings in enumerate(
        (
            retrieval_findings(study_retrieval(found), "towns"),
            reranker_findings(rerankers, "towns"),
            context_findings(study_context({"recipe": found}, KnobValues()), "towns"),
        )
    ):
        place = write_findings(findings, tmp_path / str(number))
        assert json.loads((place / "study.json").read_text())["questions"] == len(found.questions)
        assert findings.summary in (place / "study.md").read_text()
        page = (place / "study.html").read_text()
        assert "<h2>" in page
        assert "<b>maxsim" not in page


def test_every_study_is_a_run_of_mlflow(found: StudyQuestions, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    make_database(store)
    retrieval = study_retrieval(found)
    rerankers = study_rerankers(found, {"maxsim": MaxSim(found.recipe.index.path)}, depths=(5, 10))
    context = study_context({"recipe": found}, KnobValues(), budgets=(256, 512), neighbours=(0,))
    studies: dict[str, tuple[Study, Findings]] = {
        "retrieval": (retrieval, retrieval_findings(retrieval, "towns")),
        "rerankers": (rerankers, reranker_findings(rerankers, "towns")),
        "context": (context, context_findings(context, "towns")),
    }
    client = mlflow.MlflowClient(tracking_uri=store)
    for kind, (study, findings) in studies.items():
        report = write_findings(findings, tmp_path / kind)
        run = track_study(
            study, findings, report, recipe=found.recipe, tracking_uri=store,
            artifact_location=tmp_path / "files",
        )  # fmt: skip
        parent = client.get_run(run)
        assert parent.data.tags["study"] == kind
        assert parent.info.run_name == f"study {kind}: {parent.data.params['best']}"
        files = {one.path for one in client.list_artifacts(run, "report")}
        assert "report/study.html" in files
        assert len(client.list_artifacts(run, "tables")) == len(findings.tables)
        below = client.search_runs(
            [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run}'"
        )
        assert len(below) == {"retrieval": len(retrieval.ways), "rerankers": 2, "context": 2}[kind]
        named = {one.info.run_name: one.data for one in below}
        assert parent.data.params["best"] in named
    dense = next(way for way in retrieval.ways if way.name == "dense")
    ways = client.search_runs(
        [client.get_experiment_by_name(found.recipe.name).experiment_id], "params.way = 'dense'"
    )
    assert [way.data.metrics["ndcg_at_10"] for way in ways] == [
        round(dense.means["ndcg@10"].mean, 4)
    ]


def test_a_store_that_cannot_be_written_is_named(found: StudyQuestions, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    (tmp_path / "mlflow.db").write_text("no database\n" * 100)
    study = study_context({"recipe": found}, KnobValues(), budgets=(256,), neighbours=(0,))
    findings = context_findings(study, "towns")
    with pytest.raises(RecordFault, match="cannot be recorded"):
        track_study(
            study, findings, write_findings(findings, tmp_path / "context"), recipe=found.recipe,
            tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", artifact_location=tmp_path / "f",
        )  # fmt: skip
