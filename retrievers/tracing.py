"""Passages in an MLflow trace, in the form that its judges and its document view read.

MLflow's DSPy tracing stores a retriever's output in a form that neither reads. While a trace is
being written, a child span of type RETRIEVER with a list of documents is added. MLflow is never
imported here: if the application has not done so, nothing is traced.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ragwright.retrievers.types import Passage


def trace_retrieval(query: str, passages: Sequence[Passage]) -> None:
    """Add a RETRIEVER span under the current span, if there is one."""
    mlflow = sys.modules.get("mlflow")
    span = mlflow.get_current_active_span() if mlflow else None
    if mlflow is None or span is None:
        return
    span.set_span_type("CHAIN")
    with mlflow.start_span(name="passages", span_type="RETRIEVER") as child:
        child.set_inputs({"query": query})
        child.set_outputs([_document(passage) for passage in passages])


def trace_attribute(name: str, value: object) -> None:
    """Set an attribute of the current span, if there is one."""
    mlflow = sys.modules.get("mlflow")
    span = mlflow.get_current_active_span() if mlflow else None
    if span is not None:
        span.set_attribute(name, value)


def _document(passage: Passage) -> dict[str, Any]:
    signals = dict(passage.signals)
    metadata = {**passage.metadata, "doc_uri": passage.document, "score": passage.score}
    return {"page_content": str(passage), "id": passage.id, "metadata": metadata | signals}
