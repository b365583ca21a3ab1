"""Traces are written while asked for, one per question, in a form that MLflow's judges read."""

from __future__ import annotations

from pathlib import Path

import dspy
import mlflow
from mlflow import MlflowClient
from mlflow.genai.utils.trace_utils import extract_retrieval_context_from_trace

from ragwright.optimize import build_metric, evaluate, read_questions
from ragwright.optimize.report.traces import write_traces
from ragwright.programs.build import build_program, build_recipe_lm

from .conftest import recipe


def test_every_answer_of_an_evaluation_is_traced_and_nothing_after(
    world: Path, tmp_path: Path
) -> None:
    settings, before = recipe(world), mlflow.get_tracking_uri()
    program = build_program(settings, lm=build_recipe_lm(settings))
    questions, metric = (
        read_questions(world / "questions.jsonl").questions[:3],
        build_metric("answer_f1"),
    )
    uri, counted = f"sqlite:///{tmp_path}/mlflow.db", dspy.settings.track_usage
    with write_traces(uri, "towns", tmp_path / "files"):
        done = evaluate(program, questions, metric, threads=2)
    evaluate(program, questions, metric, threads=2)
    assert mlflow.get_tracking_uri() == before
    assert dspy.settings.track_usage is counted
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("towns").experiment_id
    traces = client.search_traces(locations=[experiment])
    assert len(traces) == 3
    read = [
        document["content"]
        for trace in traces
        for documents in extract_retrieval_context_from_trace(trace).values()
        for document in documents
    ]
    shown = [text.split("] ", 1)[1] for row in done.rows for text in row.context]
    assert set(shown) <= set(read)
