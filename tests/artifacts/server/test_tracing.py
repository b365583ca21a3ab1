"""Answers as MLflow traces, with feedback attached; MLflow on SQLite, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import mlflow
import pytest

from ragwright.artifacts.server import tracing
from tests.artifacts.server.conftest import Running, Serve, until

pytestmark = pytest.mark.filterwarnings("default")

QUESTION = "What is the capital of Peru?"


@pytest.fixture
def traced(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server that traces what asks for it, and next to nothing else."""
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "true")
    # Setting what was only the default would fix it for all that follows.
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    with serve(trace=1e-12, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db") as server:
        yield server
    mlflow.set_tracking_uri(before)


def test_a_trace_shows_the_stages_and_the_feedback(traced: Running, tmp_path: Path) -> None:
    untraced = traced.ask(QUESTION).json()
    headers = {"X-Trace": "1"}
    body = {"question": "What is the capital of Japan?"}
    answer = traced.client.post("/v1/ask", json=body, headers=headers).json()
    tracer = traced.app.state.service.tracer
    until(lambda: tracer.idle)
    for id, rating in ((untraced["id"], "up"), (answer["id"], "down")):
        sent = {"answer_id": id, "rating": rating, "comment": "why"}
        assert traced.client.post("/v1/feedback", json=sent).status_code == 201
    until(lambda: tracer.idle)
    experiment = mlflow.get_experiment_by_name(tracing.EXPERIMENT)
    (trace,) = mlflow.search_traces(
        locations=[experiment.experiment_id], return_type="list", include_spans=True
    )
    spans = {span.name: span for span in trace.data.spans}
    assert set(spans) == {"ask", "retrieve", "generate"}
    assert spans["retrieve"].span_type == "RETRIEVER"
    assert spans["retrieve"].outputs[0]["metadata"]["doc_uri"] == "Japan"
    assert spans["ask"].inputs == body
    assert spans["retrieve"].end_time_ns <= spans["generate"].start_time_ns
    (assessment,) = trace.info.assessments
    assert (assessment.name, assessment.value, assessment.rationale) == ("rating", "down", "why")
    assert not (tmp_path / "mlruns").exists()


def test_a_program_without_known_stages_is_traced_all_the_same(
    traced: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def alone(self: Any, **asked: Any) -> dspy.Prediction:
        return dspy.Prediction(answer="Lima", passages=[])

    program = traced.app.state.service.serving.current.program
    monkeypatch.setattr(type(program), "aforward", alone)
    traced.client.post("/v1/ask", json={"question": QUESTION}, headers={"X-Trace": "1"})
    tracer = traced.app.state.service.tracer
    until(lambda: tracer.idle)
    assert traced.metric("ragwright_dropped_total", record="trace") == 0
