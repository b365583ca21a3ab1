"""An answer that is a member of an enumeration, or a number, is compared as what models write."""

from __future__ import annotations

import enum
from typing import Any

import dspy
import pytest

from ragwright.optimize.questions.data import from_examples
from ragwright.optimize.scoring.metrics import build_metric
from ragwright.programs.outputs import answer_of


class Level(enum.Enum):
    HIGH = "high"


@pytest.mark.parametrize(
    ("answer", "text"), [(Level.HIGH, "high"), (0, "0"), ("high", "high"), (2.5, "2.5")]
)
def test_it_is_expected_shown_and_compared_as_text(answer: Any, text: str) -> None:
    example = dspy.Example(question="How?", answer=answer).with_inputs("question")
    question = from_examples([example])[0]
    said = dspy.Prediction(answer=answer)
    assert (question.answers, answer_of(said)) == ((text,), text)
    gold = dspy.Example(answers=list(question.answers))
    assert build_metric("answer_em").judged(gold, said).score == 1
