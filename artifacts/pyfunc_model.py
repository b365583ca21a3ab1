"""The artifact as an MLflow model: questions in, answers with citations out.

MLflow runs this file when it loads the model ("models from code"), so that nothing is unpickled.
It knows the artifact's folder, which MLflow hands over, and nothing else of MLflow.
"""

from __future__ import annotations

from typing import Any

import mlflow
import pydantic

from ragwright.artifacts.forgetful import forgetful
from ragwright.artifacts.store import load

ARTIFACT = "artifact"
"""What MLflow calls the artifact's folder among the model's."""


class Asked(pydantic.BaseModel):
    """One input of the model."""

    question: str


class Answered(pydantic.BaseModel):
    """One output of the model.

    Attributes:
        answer: The answer.
        citations: Which passages it stands in, counted from 1.
        context: The numbered passages, as the language model read them.
        documents: The document that each passage comes from.
    """

    answer: str
    citations: list[int]
    context: list[str]
    documents: list[str]


class AnswerModel(mlflow.pyfunc.PythonModel):
    """Answers questions; `model_config={"index": PATH}` says where the index lies, if it moved."""

    def load_context(self, context: Any) -> None:
        index = (context.model_config or {}).get("index") or None
        self.program = load(context.artifacts[ARTIFACT], index=index)

    def predict(self, context: Any, model_input: list[Asked]) -> list[Answered]:
        """Return one answer per question, in order."""
        return [self._answer(asked.question) for asked in model_input]

    def _answer(self, question: str) -> Answered:
        with forgetful():
            found = self.program(question=question)
        return Answered(
            answer=found.answer,
            citations=list(found.citations),
            context=[str(passage) for passage in found.context],
            documents=[passage.document for passage in found.passages],
        )


mlflow.models.set_model(AnswerModel())
