"""What two programs answered to the test questions, as MLflow's evaluation runs.

One trace a question, rebuilt from what the evaluation kept, with its passages as a RETRIEVER span,
our metrics as feedback and the labels as expectations: MLflow's pages compare two such runs
question by question, and its judges read the traces. They are written after the compile, many
spans at once, so that nothing waits for them while programs answer.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ragwright.optimize.questions.data import Question
from ragwright.optimize.report.descriptions import describe_candidate
from ragwright.optimize.report.mlflow_candidates import CANDIDATE, round_figures, usage_metrics
from ragwright.optimize.report.mlflow_data import log_inputs, record_expectations, record_inputs
from ragwright.optimize.result import BASELINE, CompileResult
from ragwright.optimize.scoring.evaluation import Evaluation, EvaluationRow

EVALUATION = {"mlflow.runType": "genai_evaluate"}
"""The tag by which MLflow's pages know an evaluation run."""
COMPILE = "ragwright.compile"
"""The tag of an evaluation run that holds the id of the compile's run."""
MOST = 200
"""Questions of a program that get a trace, the first ones: a trace costs some 10 ms. The tables of
the compile's run have all of them."""
AT_ONCE = 100
"""Spans and links of one request; MLflow takes no more links."""


@dataclass(frozen=True)
class TraceTarget:
    """Where traces go: a store, an experiment, a run in it, and the model that answered, if any."""

    uri: str
    experiment: str
    run_id: str
    model_id: str = ""


def log_answers(
    result: CompileResult, *, tracking_uri: str, run_id: str, model_id: str = ""
) -> None:
    """Write an evaluation run for the baseline, and one for the compiled program.

    Args:
        result: What was compiled.
        tracking_uri: The store of its run.
        run_id: Its run.
        model_id: The logged model that the compiled program is.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(tracking_uri=tracking_uri)
    experiment = client.get_run(run_id).info.experiment_id
    asked = {question.id: question for question in result.splits.test}
    judged = {one.name: one for one in result.candidates if one.stage == "choice"}
    for name in dict.fromkeys((BASELINE, result.chosen)):
        tags = {**EVALUATION, COMPILE: run_id, CANDIDATE: name, "stage": "evaluation"}
        # No child: MLflow's page of evaluation runs hides runs whose parent is not on it.
        run = client.create_run(
            experiment, run_name=f"test: {describe_candidate(judged[name])}", tags=tags
        )
        model = model_id if name == result.chosen else ""
        place = TraceTarget(tracking_uri, experiment, run.info.run_id, model)
        log_inputs(client, run.info.run_id, result, ["test"])
        traces = log_evaluation(place, result.test[name], asked, result.recipe.compile.metric)
        if name == result.chosen:
            _link(client, traces, run_id)
        now = int(1000 * time.time())
        done = result.test[name]
        numbers = round_figures({"test": done.mean, **usage_metrics(done.usage, result)})
        client.log_batch(
            run.info.run_id, metrics=[Metric(key, value, now, 0) for key, value in numbers.items()]
        )
        client.set_terminated(run.info.run_id)


def log_evaluation(
    place: TraceTarget, done: Evaluation, asked: dict[str, Question], metric: str
) -> list[str]:
    """Write what a program answered as traces of a run, with feedback and expectations.

    Returns:
        The traces' ids.
    """
    from mlflow.tracing.client import TracingClient

    traces, spans, written = TracingClient(place.uri), [], []
    began = int(1000 * time.time())
    for row in done.rows[:MOST]:
        trace_id = f"tr-{uuid4().hex}"
        written.append(trace_id)
        traces.start_trace(_info(trace_id, place, row, asked.get(row.id), metric, began))
        spans += list(_spans(trace_id, row, asked.get(row.id), began))
    for start in range(0, len(spans), AT_ONCE):
        traces.log_spans(place.experiment, spans[start : start + AT_ONCE])
    return written


def _link(client: Any, traces: list[str], run_id: str) -> None:
    """Show traces on the page of another run too."""
    for start in range(0, len(traces), AT_ONCE):
        client.link_traces_to_run(traces[start : start + AT_ONCE], run_id)


def _scorer(metric: str) -> str:
    """The name of a metric as feedback; a sum of metrics is called what it is."""
    return metric if metric.isidentifier() else "score"


def _info(
    trace_id: str,
    place: TraceTarget,
    row: EvaluationRow,
    question: Question | None,
    metric: str,
    began: int,
) -> Any:
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    tokens = {
        "input_tokens": row.prompt_tokens,
        "output_tokens": row.completion_tokens,
        "total_tokens": row.prompt_tokens + row.completion_tokens,
    }
    model = {"mlflow.modelId": place.model_id} if place.model_id else {}
    return TraceInfo(
        trace_id=trace_id,
        trace_location=TraceLocation.from_experiment_id(place.experiment),
        request_time=began,
        state=TraceState.ERROR if row.error else TraceState.OK,
        request_preview=row.question,
        response_preview=row.answer or row.error,
        execution_duration=round(1000 * row.seconds),
        trace_metadata={
            "mlflow.sourceRun": place.run_id,
            "mlflow.trace.tokenUsage": json.dumps(tokens),
            **model,
        },
        tags={"mlflow.traceName": "answer", "question": row.id, "side": "test"},
        assessments=list(_assessments(trace_id, place, row, question, metric)),
    )


def _assessments(
    trace_id: str, place: TraceTarget, row: EvaluationRow, question: Question | None, metric: str
) -> Iterator[Any]:
    from mlflow.entities import AssessmentSource, Expectation, Feedback

    code = AssessmentSource("CODE", "ragwright")
    run = {"mlflow.assessment.sourceRunId": place.run_id}
    scores = {_scorer(metric): row.score, **(row.parts if len(row.parts) > 1 else {})}
    for name, score in scores.items():
        yield Feedback(name=name, value=score, source=code, trace_id=trace_id, metadata=run)
    labels = (
        record_expectations(question)
        if question
        else {"expected_response": " / ".join(row.expected)}
    )
    for name, label in labels.items():
        human = AssessmentSource("HUMAN", "training set")
        value = label if isinstance(label, str) else json.dumps(label, ensure_ascii=False)
        yield Expectation(name=name, value=value, source=human, trace_id=trace_id, metadata=run)


def _spans(
    trace_id: str, row: EvaluationRow, question: Question | None, began: int
) -> Iterator[Any]:
    """The program's span, and below it what was retrieved, in the form that judges read."""
    root, inputs = uuid4().hex[:16], {"question": row.question}
    asked = inputs if question is None else record_inputs(question)
    outputs = {"answer": row.answer, "citations": list(row.citations)}
    documents = [
        {"page_content": text, "id": chunk, "metadata": {"doc_uri": document}}
        for text, chunk, document in zip(row.context, row.chunks, row.documents, strict=False)
    ]
    times = (began, began + round(1000 * row.seconds))
    program = _Step("answer", "CHAIN", asked, outputs, row.error)
    yield _span(trace_id, root, "", program, times)
    if documents:
        search = _Step("retrieve", "RETRIEVER", inputs, documents)
        yield _span(trace_id, uuid4().hex[:16], root, search, times)


@dataclass(frozen=True)
class _Step:
    """What a span tells: its name and type, what came in and went out, and what failed."""

    name: str
    kind: str
    inputs: Any
    outputs: Any
    error: str = ""


def _span(trace_id: str, span_id: str, parent: str, step: _Step, times: tuple[int, int]) -> Any:
    from mlflow.entities import Span

    attributes = {
        "mlflow.traceRequestId": trace_id,
        "mlflow.spanType": step.kind,
        "mlflow.spanInputs": step.inputs,
        "mlflow.spanOutputs": step.outputs,
    }
    status = "STATUS_CODE_ERROR" if step.error else "STATUS_CODE_OK"
    return Span.from_dict(
        {
            "trace_id": _coded(trace_id.removeprefix("tr-")),
            "span_id": _coded(span_id),
            "parent_span_id": _coded(parent) if parent else "",
            "name": step.name,
            "start_time_unix_nano": times[0] * 10**6,
            "end_time_unix_nano": times[1] * 10**6,
            "status": {"code": status, "message": step.error},
            "attributes": {key: json.dumps(value) for key, value in attributes.items()},
            "events": [],
        }
    )


def _coded(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()
