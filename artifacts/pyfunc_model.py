"""Lets MLflow load an artifact as a model that answers questions with citations.

MLflow runs this file when it loads the model ("models from code"), so that nothing is unpickled.
It knows the artifact's folder, which MLflow hands over, and nothing else of MLflow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import mlflow
import pydantic

from ragwright.artifacts.forgetful import keep_no_history
from ragwright.artifacts.store import load
from ragwright.programs.anatomy import as_callable
from ragwright.programs.interface import ProgramInputs
from ragwright.programs.outputs import (
    answer_of,
    citations_of,
    context_of,
    find_prediction,
    other_outputs,
    passages_of,
)
from ragwright.retrievers.tracing import gather_passages

ARTIFACT = "artifact"
"""What MLflow calls the artifact's folder among the model's."""


class ModelInput(pydantic.BaseModel):
    """One input of the model.

    Attributes:
        question: The question.
        inputs: What a program of one's own takes besides, by name; values that are no text as JSON.
    """

    question: str
    inputs: dict[str, str] | None = None


class ModelOutput(pydantic.BaseModel):
    """One output of the model.

    Attributes:
        answer: The answer.
        citations: Which passages it stands in, counted from 1.
        context: The numbered passages, as the language model read them.
        documents: The document that each passage comes from.
        outputs: What a program of one's own gave besides its answer, as JSON.
    """

    answer: str
    citations: list[int]
    context: list[str]
    documents: list[str]
    outputs: str = "{}"


class AnswerModel(mlflow.pyfunc.PythonModel):
    """Answers questions; `model_config={"index": PATH}` says where the index lies, if it moved."""

    def load_context(self, context: Any) -> None:
        index = (context.model_config or {}).get("index") or None
        self.program = load(context.artifacts[ARTIFACT], index=index)

    def predict(self, context: Any, model_input: list[ModelInput]) -> list[ModelOutput]:
        """Return one answer per question, in order."""
        return [self._answer(asked.question, asked.inputs or {}) for asked in model_input]

    def _answer(self, question: str, inputs: Mapping[str, str]) -> ModelOutput:
        called = ProgramInputs.of(self.program).call(question, inputs, written=True)
        with keep_no_history(), gather_passages() as gathered:
            found = as_callable(self.program)(**called)
        said = find_prediction(found)
        passages = passages_of(said, gathered)
        return ModelOutput(
            answer=answer_of(found),
            citations=list(citations_of(said, len(passages))),
            context=list(context_of(said, passages)),
            documents=[passage.document for passage in passages],
            outputs=json.dumps(other_outputs(found)),
        )


mlflow.models.set_model(AnswerModel())
