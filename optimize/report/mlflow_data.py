"""The three sides of a training set in MLflow: as inputs of the run, and as data sets that open.

An input of a run says what the run was made from, by digest. A data set of an experiment has a page
of its own, one record a question, and is what `mlflow.genai.evaluate` takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic_core import to_jsonable_python

from ragwright.optimize.questions.data import Question
from ragwright.optimize.questions.test_looks import hash_test_questions
from ragwright.optimize.report.mlflow_internals import data_set_entity
from ragwright.optimize.result import CompileResult

SIDES = ("train", "dev", "test")
EXPECTED = "expected_response"
"""What MLflow's own judges call the right answer."""


def log_inputs(
    client: Any, run_id: str, result: CompileResult, sides: Sequence[str] = SIDES
) -> None:
    """Tie sides of the training set to a run as its inputs."""
    from mlflow.entities import DatasetInput, InputTag

    inputs = [
        DatasetInput(data_set_entity(data), [InputTag("mlflow.data.context", data.name)])
        for data in _frames(result, sides)
    ]
    client.log_inputs(run_id, inputs)


def keep_data_sets(client: Any, experiment: str, result: CompileResult) -> dict[str, str]:
    """Return the ids of an experiment's data sets, by side; made where they are not there yet.

    A data set is known again by its digest, so that compiling again makes no second one.
    """
    from mlflow.tracing.client import TracingClient

    store = TracingClient(client.tracking_uri).store
    ids: dict[str, str] = {}
    for side in SIDES:
        questions = getattr(result.splits, side)
        name = f"{result.recipe.name} {side} {hash_questions(questions)}"
        found = client.search_datasets([experiment], filter_string=f"name = '{name}'")
        if found:
            ids[side] = found[0].dataset_id
            continue
        made = client.create_dataset(name, [experiment], tags={"side": side})
        store.upsert_dataset_records(
            made.dataset_id, [dataset_record(one, side) for one in questions]
        )
        ids[side] = made.dataset_id
    return ids


def hash_questions(questions: Sequence[Question]) -> str:
    """A short hash of questions and their labels."""
    return hash_test_questions(questions)[:8]


def dataset_record(question: Question, side: str) -> dict[str, Any]:
    """A question as MLflow's data sets have it: inputs, and what is expected of the answer."""
    return {
        "inputs": record_inputs(question),
        "expectations": record_expectations(question),
        "tags": {"id": question.id, "side": side, "group": question.group},
    }


def record_inputs(question: Question) -> dict[str, Any]:
    """What a program is called with, in plain values."""
    if question.example is None:
        return {"question": question.question}
    given = question.example.inputs().toDict()
    plain: dict[str, Any] = to_jsonable_python(given, fallback=str, inf_nan_mode="null")
    return plain or {"question": question.question}


def record_expectations(question: Question) -> dict[str, Any]:
    """The labels: the answer, others that are right too, and the documents that hold it."""
    labels: dict[str, Any] = {}
    if question.answers:
        labels[EXPECTED] = question.answers[0]
    if len(question.answers) > 1:
        labels["other_answers"] = list(question.answers[1:])
    if question.documents:
        labels["expected_documents"] = list(question.documents)
    return labels


def _frames(result: CompileResult, sides: Sequence[str]) -> Iterator[Any]:
    import mlflow.data
    import pandas as pd
    from mlflow.data.code_dataset_source import CodeDatasetSource

    path = result.recipe.data.trainset or "given in Python"
    source = CodeDatasetSource({"trainset": path, "fingerprint": result.inputs.data})
    for name in sides:
        questions = getattr(result.splits, name)
        rows = [
            {
                "id": question.id,
                "question": question.question,
                "answer": question.answers[0],
                "group": question.group,
            }
            for question in questions
        ]
        data = pd.DataFrame(rows)
        yield mlflow.data.from_pandas(
            data, source, targets="answer", name=name, digest=hash_questions(questions)
        )
