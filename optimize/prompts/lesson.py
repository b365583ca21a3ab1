"""What a DSPy optimizer is, and what it learns from: questions, and a metric in the form it wants.

DSPy's optimizers differ in what they take a metric for: bootstrapping wants a strict yes or no for
a trace, searching a number, reflecting a number and words.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import dspy
from dspy.teleprompt import Teleprompter

from ragwright.optimize.progress import StageProgress
from ragwright.optimize.prompts.feedback import Feedback
from ragwright.optimize.questions.data import Question, to_examples
from ragwright.optimize.scoring.metrics import Metric
from ragwright.programs.lm import can_write


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an optimizer learns from.

    Attributes:
        train: Source of demonstrations.
        dev: What candidates are judged on.
        metric: Judges traces (a strict bool) and answers.
        threads: How many questions are answered at a time.
        progress: Told after every judged answer.
        lm: The model that answers.
        writer: The model that writes instructions; the one that answers, if there is no other.
        teacher: A program to take demonstrations from, for optimizers that heed one.
        feedback: Says why an answer is wrong.
        seed: For all that an optimizer draws.
        judged: Numbers the answers.
        worked: By question id, what a demonstration of it shows besides question and answer.
    """

    train: Sequence[Question]
    dev: Sequence[Question]
    metric: Metric
    threads: int
    progress: StageProgress | None = None
    lm: dspy.LM | None = None
    writer: dspy.LM | None = None
    teacher: dspy.Module | None = None
    feedback: Feedback = field(default_factory=Feedback)
    seed: int = 0
    judged: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    worked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def trainset(self) -> list[dspy.Example]:
        """The train questions as DSPy takes them, those that are worked out as demonstrations."""
        return [self._worked(example) for example in to_examples(self.train)]

    def _worked(self, example: dspy.Example) -> dspy.Example:
        more = self.worked.get(str(example.id))
        if not more:
            return example
        return dspy.Example(**{**example, **more}).with_inputs(*example.inputs().keys())

    @property
    def writing_lm(self) -> dspy.LM | None:
        """The model that writes, if there is one."""
        named = self.writer or self.lm
        return named if named is not None and can_write(named) else None

    def judge(self, gold: Any, pred: Any, trace: Any = None, *_: Any) -> float | bool:
        """The metric, which also tells how many answers have been judged so far."""
        self._tell()
        return self.metric(gold, pred, trace)

    def reflect(
        self,
        gold: Any,
        pred: Any,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,
    ) -> dspy.Prediction:
        """Score and feedback, whether there is a trace or not; on one predictor, if it is named."""
        self._tell()
        judged, told = self.metric.judged(gold, pred), ""
        if pred_name is not None:
            told = self.metric.feedback_on(gold, pred, trace, pred_name, pred_trace)
        right = judged.score >= self.metric.threshold
        said = self.feedback.text(gold, pred, right=right)
        text = f"{told or judged.feedback} {said}".strip()
        return dspy.Prediction(score=judged.score, feedback=text)

    def _tell(self) -> None:
        if self.progress:
            self.progress("prompts", next(self.judged), 0)


class OptimizerSettings(Protocol):
    """One optimizer with its settings; frozen."""

    @property
    def least_examples(self) -> int:
        """How many train questions it cannot do without."""
        ...

    @property
    def needs_writer(self) -> bool:
        """Whether it has a language model write text."""
        ...

    def estimated_answers(self, train: int, dev: int) -> int:
        """About how often it has a question answered, of so many; a written text counts as one."""
        ...

    def build(self, lesson: Lesson) -> Teleprompter:
        """Return DSPy's optimizer."""
        ...

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        """Return what its `compile` takes besides student and trainset; `valset` where it can."""
        ...


def takes_argument(optimizer: Teleprompter, name: str) -> bool:
    """Whether an optimizer's `compile` names such an argument."""
    return name in inspect.signature(optimizer.compile).parameters
