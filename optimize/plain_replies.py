"""Asks a model that keeps to no form for the answer alone, from the baseline of a compile on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import dspy

from ragwright.optimize.questions.data import Question
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.workbench import Workbench
from ragwright.programs.anatomy import copy_program
from ragwright.programs.lm import can_write
from ragwright.programs.rag import RAG
from ragwright.programs.replies.adapter import ReplyAdapter

log = logging.getLogger(__name__)

FEW = 6
"""Questions whose replies tell whether a model keeps to a form: one that does not may write each
reply to its limit before it is asked again, for minutes on a small machine.
"""
FIRST = FEW // 2 + 1
"""Of these; where the first so many keep to none, the others need not be asked."""


@dataclass(frozen=True)
class Look:
    """Questions to be asked, and how many of their replies may keep to no form."""

    questions: Sequence[Question]
    most: int


def looks(lm: Any, questions: Sequence[Question]) -> list[Look]:
    """Return what to ask one after the other: a few before all, where forms are in doubt."""
    whole = Look(questions, len(questions) // 2)
    if not _in_doubt(lm) or len(questions) <= FEW:
        return [whole]
    return [Look(questions[:count], FEW // 2) for count in (FIRST, FEW)] + [whole]


def ask_plainly(lm: Any, done: Evaluation, *, most: int) -> str:
    """Where most replies keep to no form, ask for the answer alone from now on, and say so.

    Decided by what evaluations came to, and not on their way, so that a resumed run asks alike.

    Args:
        lm: What answered.
        done: The baseline, or its first questions.
        most: How many replies may keep to no form.

    Returns:
        A sentence; nothing where replies are asked for as before.
    """
    missed = len(done.unreadable) + done.reads.get("plain", 0)
    if not _in_doubt(lm) or missed <= most:
        return ""
    dspy.settings.adapter.wanted = "plain"
    said = (
        f"{missed} of {len(done.rows)} replies did not keep to DSPy's format: from then on the "
        'language model was asked for the answer alone ([lm] format = "plain").'
    )
    log.warning("%s", said)
    return said


def asking_plainly(bench: Workbench, note: str) -> Workbench:
    """Return the bench of a program that asks so, too, once it is handed out and saved.

    What is measured here would be served in another form otherwise.
    """
    student = copy_program(bench.student)
    for _, part in student.named_sub_modules(RAG):
        part.options = replace(part.options, format="plain")
    lm = bench.recipe.lm.model_copy(update={"format": "plain"})
    recipe = bench.recipe.model_copy(update={"lm": lm})
    return replace(bench, student=student, recipe=recipe, warnings=(*bench.warnings, note))


def _in_doubt(lm: Any) -> bool:
    """Whether it is to be found out which form a model keeps to."""
    adapter = dspy.settings.adapter
    auto = isinstance(adapter, ReplyAdapter) and adapter.wanted == "auto"
    return auto and can_write(lm)
