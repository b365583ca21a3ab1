"""Completes labeled demonstrations: adds passages and citations that retrieval finds for them.

A demonstration that leaves fields open teaches a model to leave them open. So each shows a few of
the packed passages, with one that supports the answer among them, and cites that one. Where none
does, passages and citations are left out: what is shown is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ragwright.optimize.questions.data import Question
from ragwright.optimize.retrieval.labels import supports
from ragwright.programs.context import number_passages
from ragwright.retrievers.types import Passage

MOST_PASSAGES = 3
"""Passages in a demonstration: enough to choose from, and the prompt stays short."""


def worked_examples(
    questions: Iterable[Question], packed: Callable[[str], Sequence[Passage]]
) -> Mapping[str, Mapping[str, Any]]:
    """Return context and citations by question id, for the questions that have any.

    Args:
        questions: With their evidence or documents; others are not worked out.
        packed: Returns the passages that a program would read for a question.
    """
    found = {question.id: _worked(question, packed(question.question)) for question in questions
             if question.evidence or question.documents}  # fmt: skip
    return {name: fields for name, fields in found.items() if fields}


def _worked(question: Question, passages: Sequence[Passage]) -> dict[str, Any]:
    right = [bool(supports(one, question.evidence, question.documents)) for one in passages]
    if not any(right):
        return {}
    last = right.index(True) + 1
    first = max(0, last - MOST_PASSAGES)
    shown = passages[first:last]
    return {"context": list(number_passages(shown).numbered), "citations": [len(shown)]}
