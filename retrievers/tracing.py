"""Passages in an MLflow trace, in the form that its judges and its document view read.

MLflow's DSPy tracing stores a retriever's output in a form that neither reads. While a trace is
being written, a child span of type RETRIEVER with a list of documents is added. MLflow is never
imported here: if the application has not done so, nothing is traced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dspy

from ragwright.retrievers.types import Passage

_FOUND = "ragwright_found"


@contextmanager
def gather_passages() -> Iterator[list[Passage]]:
    """Yield a list to which everything is added that is retrieved inside, each passage once."""
    found: list[Passage] = _Gathered()
    with dspy.context(**{_FOUND: found}):
        yield found


class _Gathered(list[Passage]):
    """DSPy may copy its context; all threads add to the same list."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Gathered:
        return self


def trace_retrieval(query: str, passages: Sequence[Passage]) -> None:
    """Note what was found: for whoever gathers it, and under the current span, if there is one."""
    found: list[Passage] | None = dspy.settings.get(_FOUND)
    if found is not None:
        known = {passage.id for passage in found}
        found.extend(passage for passage in passages if passage.id not in known)
    span = _current_span()
    if span is None:
        return
    span.set_span_type("CHAIN")
    with sys.modules["mlflow"].start_span(name="passages", span_type="RETRIEVER") as child:
        child.set_inputs({"query": query})
        child.set_outputs([_document(passage) for passage in passages])


def trace_attribute(name: str, value: object) -> None:
    """Set an attribute of the current span, if there is one."""
    span = _current_span()
    if span is not None:
        span.set_attribute(name, value)


def _current_span() -> Any:
    """Return the span that is being written; None, too, while a thread still imports MLflow."""
    active = getattr(sys.modules.get("mlflow"), "get_current_active_span", None)
    return None if active is None else active()


def _document(passage: Passage) -> dict[str, Any]:
    signals = dict(passage.signals)
    metadata = {**passage.metadata, "doc_uri": passage.document, "score": passage.score}
    return {"page_content": str(passage), "id": passage.id, "metadata": metadata | signals}
