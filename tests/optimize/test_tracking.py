from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dspy
import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from ragwright.optimize import CompileResult
from ragwright.optimize.prompts.state import prompt_hash
from ragwright.optimize.report.mlflow_run import track
from ragwright.optimize.retrieval.search import reading_variations
from ragwright.optimize.setting import Setting
from ragwright.programs.knobs import KnobValues

WITH_LEARNED_PROMPTS = ("shortlist", "reading")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one MLflow store; making its tables takes seconds."""
    return tmp_path_factory.mktemp("tracking")


def metrics_are_short(metrics: Mapping[str, float]) -> bool:
    """Whether no summary of MLflow shows a tail of digits that nobody reads."""
    return all(value == round(value, 4) for name, value in metrics.items() if "/" not in name)


def test_a_compile_is_one_finished_run_with_everything_in_it(
    result: CompileResult, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store / "elsewhere").mkdir()
    monkeypatch.chdir(store / "elsewhere")
    uri, before = f"sqlite:///{store}/mlflow.db", mlflow.get_tracking_uri()
    run_id = track(result, tracking_uri=uri, artifact_location=store / "files")
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["verdict"] == "ship"
    assert run.info.run_name == f"{result.gain.gain:+.3f} ship: {Path(result.run_dir).name}"
    assert metrics_are_short(run.data.metrics)
    assert run.data.params["compile.optimizer"] == "bootstrap-random-search"
    assert run.data.params["k"] == str(result.knobs.k)
    metrics = run.data.metrics
    assert metrics["test"] == pytest.approx(result.compiled.mean, abs=5e-5)
    assert metrics["test_baseline"] == pytest.approx(result.baseline.mean, abs=5e-5)
    assert metrics["dev"] == pytest.approx(result.dev[result.chosen].mean, abs=5e-5)
    assert metrics["gain_low"] == pytest.approx(result.gain.low, abs=5e-5)
    assert metrics["spent/calls"] == sum(stage.calls for stage in result.spend)
    assert len([name for name in metrics if "/" not in name]) <= 10, "only what matters"
    data = {entry.dataset.name: entry for entry in run.inputs.dataset_inputs}
    assert set(data) == {"train", "dev", "test"}
    assert '"num_rows": 38' in data["test"].dataset.profile
    assert data["test"].tags[0].value == "test"
    files = {file.path for file in client.list_artifacts(run_id, "report")}
    assert files == {"report/report.html", "report/report.json", "report/report.md"}
    assert (store / "files" / "towns" / run_id / "artifacts" / "report" / "report.md").is_file()
    assert list((store / "elsewhere").iterdir()) == []
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None


def test_two_compiles_of_one_recipe_share_an_experiment(result: CompileResult, store: Path) -> None:
    uri = f"sqlite:///{store}/mlflow.db"
    first, second = (
        track(result, tracking_uri=uri, artifact_location=store / "files") for _ in range(2)
    )
    client = MlflowClient(uri)
    runs = [client.get_run(run_id).info for run_id in (first, second)]
    assert first != second
    assert runs[0].experiment_id == runs[1].experiment_id
    assert client.get_experiment(runs[0].experiment_id).name == "towns"


def test_stages_of_lists_and_tables_have_names_that_mlflow_takes(
    result: CompileResult, store: Path
) -> None:
    """It refuses brackets and quotes, at the end of a compile that is paid for."""

    def stages(k: int) -> Setting:
        places = ("hops[0].knobs", f"tools['{'x' * 300}'].knobs")
        return Setting.of(dict.fromkeys(places, KnobValues(k=k)))

    candidates = [
        replace(one, setting=stages(k)) for k, one in enumerate(result.candidates, start=2)
    ]
    made = replace(result, candidates=tuple(candidates))
    uri = f"sqlite:///{store}/mlflow.db"
    run_id = track(made, tracking_uri=uri, artifact_location=store / "files")
    one = next(iter(children(MlflowClient(uri), run_id).values()))
    assert "hops_0_.k" in one.data.params


def children(client: MlflowClient, parent: str) -> dict[str, Run]:
    experiment = client.get_run(parent).info.experiment_id
    runs = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {run.data.tags["candidate"]: run for run in runs}


def test_every_candidate_is_a_child_run_and_every_answer_is_in_a_table(
    result: CompileResult, store: Path
) -> None:
    uri = f"sqlite:///{store}/mlflow.db"
    run_id = track(result, tracking_uri=uri, artifact_location=store / "files")
    client = MlflowClient(uri)
    found = children(client, run_id)
    assert set(found) == {candidate.name for candidate in result.candidates}
    stages = Counter(run.data.tags["stage"] for run in found.values())
    assert stages["prompts"] == len(result.tried)
    assert stages["choice"] == len(result.dev)
    means = {candidate.name: candidate.dev for candidate in result.candidates}
    for name, run in found.items():
        assert run.info.status == "FINISHED"
        whole = run.data.tags["dev questions"] == "28"
        assert run.data.metrics["dev" if whole else "dev_part"] == pytest.approx(
            means[name], abs=5e-5
        )
    settings = [run for run in found.values() if run.data.tags["stage"] in WITH_LEARNED_PROMPTS]
    assert {run.data.params["neighbours"] for run in settings} == {"0", "1"}
    assert {run.data.tags["prompts"] for run in settings} == {prompt_hash(result.program)}
    whole = [run.data.metrics["dev"] for run in settings if "dev" in run.data.metrics]
    assert max(whole) == pytest.approx(result.dev["knobs and prompts"].mean)
    assert stages["halving"] == stages["shortlist"] > 2
    assert stages["reading"] == 1 + len(reading_variations(result.knobs))
    assert len(whole) < len(settings)
    both, start = found["knobs and prompts"].data, found["baseline"].data
    assert both.params["weight_dense"] == str(result.knobs.weight_dense)
    assert both.tags["prompts"] == prompt_hash(result.program) != start.tags["prompts"]
    assert start.tags["prompts"] == found["knobs only"].data.tags["prompts"]
    file = client.download_artifacts(run_id, "tables/test.json", str(store))
    table = json.loads(Path(file).read_text())
    assert len(table["data"]) == 38 * len(result.test)
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    scores = [row["score"] for row in rows if row["program"] == result.chosen]
    assert scores == [answered.score for answered in result.compiled.rows]


def test_compiles_tracked_at_once_do_not_mix(result: CompileResult, store: Path) -> None:
    uri = f"sqlite:///{store}/mlflow.db"
    client = MlflowClient(uri)
    client.search_experiments()  # A new store makes its tables, before the threads start
    with ThreadPoolExecutor(3) as threads:
        tracked = [
            threads.submit(
                track,
                replace(result, recipe=result.recipe.model_copy(update={"name": f"towns{number}"})),
                tracking_uri=uri,
                artifact_location=store / "files",
            )
            for number in range(3)
        ]
        parents = [future.result() for future in tracked]
    assert len(set(parents)) == 3
    for number, parent in enumerate(parents):
        experiment = client.get_run(parent).info.experiment_id
        assert client.get_experiment(experiment).name == f"towns{number}"
        assert set(children(client, parent)) == {one.name for one in result.candidates}


def test_no_key_gets_into_the_store(
    result: CompileResult, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sk-" + "canary" * 6
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    result.program.set_lm(dspy.LM("openai/some-model", api_key=secret))
    try:
        uri = f"sqlite:///{store}/mlflow.db"
        track(result, tracking_uri=uri, artifact_location=store / "files")
    finally:
        result.program.set_lm(None)
    files = [file for file in store.rglob("*") if file.is_file()]
    assert len(files) > 4
    assert [file for file in files if secret.encode() in file.read_bytes()] == []


@pytest.mark.filterwarnings("error")
def test_data_sets_say_where_they_come_from_without_guessing(
    result: CompileResult, store: Path
) -> None:
    uri = f"sqlite:///{store}/mlflow.db"
    run_id = track(result, tracking_uri=uri, artifact_location=store / "files")
    data = MlflowClient(uri).get_run(run_id).inputs.dataset_inputs
    assert {entry.dataset.source_type for entry in data} == {"code"}
    assert all(result.inputs.data in entry.dataset.source for entry in data)
