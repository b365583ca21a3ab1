from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from optimize import CompileResult
from optimize.tracking import track


def test_a_compile_is_one_finished_run_with_everything_in_it(
    result: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    uri, before = f"sqlite:///{tmp_path}/mlflow.db", mlflow.get_tracking_uri()
    run_id = track(result, tracking_uri=uri, artifact_location=tmp_path / "files")
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["verdict"] == "ship"
    assert run.data.params["compile.optimizer"] == "bootstrap-random-search"
    assert run.data.params["knobs.k"] == str(result.knobs.k)
    assert run.data.metrics["test/compiled"] == pytest.approx(result.compiled.mean)
    assert run.data.metrics["test/baseline"] == pytest.approx(result.baseline.mean)
    assert run.data.metrics["dev/compiled"] == pytest.approx(result.dev[result.chosen].mean)
    assert run.data.metrics["gain_low"] == pytest.approx(result.gain.low)
    assert run.data.metrics["spend/test/calls"] == result.spend[-1].calls
    data = {entry.dataset.name: entry for entry in run.inputs.dataset_inputs}
    assert set(data) == {"train", "dev", "test"}
    assert '"num_rows": 38' in data["test"].dataset.profile
    assert data["test"].tags[0].value == "test"
    files = {file.path for file in client.list_artifacts(run_id, "report")}
    assert files == {"report/report.html", "report/report.json", "report/report.md"}
    assert (tmp_path / "files" / "towns" / run_id / "artifacts" / "report" / "report.md").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None


def test_two_compiles_of_one_recipe_share_an_experiment(
    result: CompileResult, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    first, second = (
        track(result, tracking_uri=uri, artifact_location=tmp_path / "files") for _ in range(2)
    )
    client = MlflowClient(uri)
    runs = [client.get_run(run_id).info for run_id in (first, second)]
    assert first != second
    assert runs[0].experiment_id == runs[1].experiment_id
    assert client.get_experiment(runs[0].experiment_id).name == "towns"
