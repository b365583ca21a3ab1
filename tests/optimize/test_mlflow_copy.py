"""Runs copied to another MLflow store: everything, once, and an error where nobody answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from ragwright.optimize import CompileResult
from ragwright.optimize.report import mlflow_answers
from ragwright.optimize.report.mlflow_copy import SOURCE, copy_run
from ragwright.optimize.report.mlflow_run import track
from ragwright.retrievers.errors import InputError, RecordFault
from ragwright.retrievers.mlflow_database import make_database


def test_a_run_is_copied_with_candidates_files_and_data_and_only_once(
    result: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_answers, "MOST", 3)
    here, there = (f"sqlite:///{tmp_path}/{name}.db" for name in ("here", "there"))
    run_id = track(result, tracking_uri=here, artifact_location=tmp_path / "files")
    mlflow_answers.log_answers(result, tracking_uri=here, run_id=run_id)
    make_database(there)
    MlflowClient(there).create_experiment("team", artifact_location=(tmp_path / "team").as_uri())
    done = copy_run(run_id, source=here, target=there, experiment="team")
    assert done.copied == 1 + len(result.candidates) + 2
    source, copy = MlflowClient(here).get_run(run_id), MlflowClient(there).get_run(done.run_id)
    assert copy.data.metrics == source.data.metrics
    assert copy.data.params == source.data.params
    assert copy.data.tags[SOURCE] == run_id
    assert copy.info.status == "FINISHED"
    assert len(copy.inputs.dataset_inputs) == 3
    names = {file.path for file in MlflowClient(there).list_artifacts(done.run_id, "report")}
    assert "report/report.html" in names
    children = MlflowClient(there).search_runs(
        [copy.info.experiment_id], f"tags.`mlflow.parentRunId` = '{done.run_id}'"
    )
    assert len(children) == len(result.candidates)
    traces = MlflowClient(there).search_traces(locations=[copy.info.experiment_id])
    assert len(traces) == 2 * 3
    assert all(len(trace.data.spans) == 2 for trace in traces)
    evaluated = {trace.info.trace_metadata["mlflow.sourceRun"] for trace in traces}
    assert len(evaluated) == 2
    again = copy_run(str(result.run_dir), source=here, target=there, experiment="team")
    assert (again.run_id, again.copied) == (done.run_id, 0)


def test_no_such_run_and_nobody_there_are_told_apart(
    result: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    here = f"sqlite:///{tmp_path}/here.db"
    with pytest.raises(InputError, match="no run 'none'"):
        copy_run("none", source=here, target=here)
    run_id = track(result, tracking_uri=here, artifact_location=tmp_path / "files")
    with pytest.raises(RecordFault, match="could not be copied"):
        copy_run(run_id, source=here, target="http://127.0.0.1:9")
