"""What MLflow's own pages show of a compile, read back through its client: nothing is empty."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, Trace
from mlflow.genai.scorers import Correctness, RetrievalGroundedness, RetrievalRelevance
from mlflow.genai.utils.trace_utils import extract_retrieval_context_from_trace

from ragwright.optimize import CompileResult
from ragwright.optimize.report.descriptions import describe_knobs
from ragwright.optimize.report.mlflow_answers import COMPILE, log_answers
from ragwright.optimize.report.mlflow_candidates import usage_metrics
from ragwright.optimize.report.mlflow_run import track
from ragwright.optimize.result import BASELINE
from ragwright.programs.knobs import KnobValues
from tests.servers.rest import serving

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Tracked:
    """A compile in a store of its own."""

    client: MlflowClient
    uri: str
    run: Run
    result: CompileResult

    def children(self) -> dict[str, Run]:
        found = self.client.search_runs(
            [self.run.info.experiment_id],
            f"tags.`mlflow.parentRunId` = '{self.run.info.run_id}'",
        )
        return {run.data.tags["candidate"]: run for run in found}

    def evaluations(self) -> dict[str, Run]:
        wanted = f"tags.`{COMPILE}` = '{self.run.info.run_id}'"
        found = self.client.search_runs([self.run.info.experiment_id], wanted)
        return {run.data.tags["candidate"]: run for run in found}

    def traces(self, run: Run) -> list[Trace]:
        return list(
            self.client.search_traces(
                locations=[run.info.experiment_id],
                filter_string=f"attributes.run_id = '{run.info.run_id}'",
                max_results=500,
            )
        )


@pytest.fixture(scope="module")
def tracked(result: CompileResult, tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    folder = tmp_path_factory.mktemp("pages")
    uri = f"sqlite:///{folder}/mlflow.db"
    run_id = track(result, tracking_uri=uri, artifact_location=folder / "files")
    client = MlflowClient(uri)
    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, name="towns", source_run_id=run_id)
    log_answers(result, tracking_uri=uri, run_id=run_id, model_id=model.model_id)
    return Tracked(client, uri, client.get_run(run_id), result)


def test_children_are_named_by_what_they_do_and_share_the_columns(tracked: Tracked) -> None:
    found, result = tracked.children(), tracked.result
    both = found[result.chosen]
    assert both.info.run_name.startswith(f"both: {describe_knobs(result.knobs)}")
    assert "demos" in both.info.run_name
    for name, done in result.test.items():
        assert found[name].data.metrics["test"] == pytest.approx(done.mean, abs=5e-5)
        assert found[name].data.metrics["latency_s"] > 0
        assert "tokens" in found[name].data.metrics
    varied = {key for run in found.values() for key in run.data.params}
    for key in varied - {"demos"}:
        assert len({run.data.params[key] for run in found.values()}) > 1, f"{key} is no axis"


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        (KnobValues.dense(), "dense k=5"),
        (
            KnobValues(weight_dense=0.25, weight_bm25=0.25, weight_maxsim=0.5, k=7, order="edges"),
            "hybrid .25/.25/.5 k=7 order=edges",
        ),
        (
            KnobValues(weight_dense=0, weight_bm25=1, neighbours=1, diversity=0.3),
            "bm25 k=5 neighbours=1 diversity=0.3",
        ),
        (KnobValues(fusion="rrf"), "hybrid .5/.5 by rrf k=5"),
    ],
)
def test_knobs_are_told_in_a_line(knobs: KnobValues, told: str) -> None:
    assert describe_knobs(knobs) == told


def test_search_progress_and_spend_are_curves_over_steps(tracked: Tracked) -> None:
    client, run_id, result = tracked.client, tracked.run.info.run_id, tracked.result

    def curve(name: str) -> list[float]:
        points = sorted(client.get_metric_history(run_id, name), key=lambda point: point.step)
        assert [point.step for point in points] == list(range(len(points)))
        return [point.value for point in points]

    scores = [trial.score for trial in result.search.trials]
    assert curve("search/ndcg_10") == pytest.approx(scores)
    assert curve("search/best ndcg_10") == pytest.approx(list(accumulate(scores, max)))
    best = curve("progress/best dev")
    assert best == sorted(best)
    assert best[-1] == max(done.mean for done in result.dev.values())
    assert curve("spent/calls") == list(accumulate(stage.calls for stage in result.spend))
    processor = curve("system/cpu_seconds")
    assert processor == sorted(processor)
    assert processor[-1] > 0
    assert min(curve("system/peak_memory_megabytes")) > 10


def test_data_sets_open_with_labels_and_are_kept_once(tracked: Tracked) -> None:
    client, result = tracked.client, tracked.result
    experiment = tracked.run.info.experiment_id
    found = {one.tags["side"]: one for one in client.search_datasets([experiment])}
    assert set(found) == {"train", "dev", "test"}
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(tracked.uri)  # where a data set loads its records from
    try:
        rows = client.get_dataset(found["test"].dataset_id).to_df()
    finally:
        mlflow.set_tracking_uri(before)
    asked = {question.question: question for question in result.splits.test}
    assert {row["question"] for row in rows["inputs"]} == set(asked)
    for inputs, expected in zip(rows["inputs"], rows["expectations"], strict=True):
        question = asked[inputs["question"]]
        assert expected["expected_response"] == question.answers[0]
        assert expected["expected_documents"] == list(question.documents)
    again = track(
        result, tracking_uri=tracked.uri, artifact_location=Path(result.run_dir) / "mlartifacts"
    )
    assert client.get_run(again).info.experiment_id == experiment
    assert len(client.search_datasets([experiment])) == 3


def test_both_programs_are_evaluation_runs_question_by_question(tracked: Tracked) -> None:
    evaluations, result = tracked.evaluations(), tracked.result
    sides = {}
    for name in (BASELINE, result.chosen):
        run = evaluations[name]
        assert "mlflow.parentRunId" not in run.data.tags, "MLflow's page would hide it"
        assert run.data.metrics["test"] == pytest.approx(result.test[name].mean, abs=5e-5)
        assert run.data.tags["mlflow.runType"] == "genai_evaluate"
        assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["test"]
        sides[name] = tracked.traces(run)
        scores = {
            trace.info.request_preview: one.feedback.value
            for trace in sides[name]
            for one in trace.info.assessments
            if one.name == "answer_f1"
        }
        assert scores == {row.question: row.score for row in result.test[name].rows}
    labels = {
        one.name: one.expectation.value
        for one in sides[BASELINE][0].info.assessments
        if one.expectation
    }
    assert {"expected_response", "expected_documents"} <= set(labels)
    for trace in sides[result.chosen]:
        assert trace.info.trace_metadata["mlflow.modelId"]
        (documents,) = extract_retrieval_context_from_trace(trace).values()
        row = next(r for r in result.compiled.rows if r.question == trace.info.request_preview)
        assert [document["content"] for document in documents] == list(row.context)
    assert "mlflow.modelId" not in sides[BASELINE][0].info.trace_metadata
    linked = {trace.info.trace_id for trace in tracked.traces(tracked.run)}
    assert linked == {trace.info.trace_id for trace in sides[result.chosen]}


def test_judges_of_mlflow_read_the_traces(
    tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, asked = tracked.traces(tracked.run)[0], []

    def judge(_method: str, _path: str, _query: object, body: object) -> tuple[int, object]:
        asked.append(str(body))
        said = {"role": "assistant", "content": '{"result": "yes", "rationale": "It says so."}'}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        return 200, {"id": "1", "object": "chat.completion", "created": 0, "model": "judge",
                     "choices": [choice]}  # fmt: skip

    judges = RetrievalGroundedness, RetrievalRelevance, Correctness
    with serving(judge) as port:
        monkeypatch.setenv("OPENAI_API_BASE", f"http://127.0.0.1:{port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        said = [kind(model="openai:/judge")(trace=trace) for kind in judges]
    flat = [one for given in said for one in (given if isinstance(given, list) else [given])]
    assert {str(one.value) for one in flat} <= {"yes", "1.0"}, flat
    assert len(asked) >= len(judges)
    assert all(trace.info.request_preview in body for body in asked)


def test_cost_is_told_where_prices_are_known(result: CompileResult) -> None:
    usage = {"seconds": 0.5, "prompt_tokens": 1000.0, "completion_tokens": 100.0}
    assert usage_metrics({}, result) == {}
    assert usage_metrics(usage, result) == {"latency_s": 0.5, "tokens": 1100.0}
