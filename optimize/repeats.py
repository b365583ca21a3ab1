"""Answers test questions several times, where a model does not answer alike each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ragwright.optimize.questions.data import Question
from ragwright.optimize.result import Variant
from ragwright.optimize.scoring.evaluation import Evaluation, average_evaluations
from ragwright.optimize.workbench import Workbench
from ragwright.programs.anatomy import predictors_of
from ragwright.programs.lm import may_vary


def evaluate_repeatedly(
    bench: Workbench, variant: Variant, questions: Sequence[Question]
) -> Evaluation:
    """Answer questions live as often as is wanted, and take the mean score of each."""
    runs = range(repeat_count(bench))
    return average_evaluations(
        [bench.answered(variant, questions, live=True, run=run) for run in runs]
    )


def repeat_count(bench: Workbench) -> int:
    """How often a test question is answered: once, where the same would come back."""
    models = [bench.lm, *(one.lm for one in predictors_of(bench.student) if one.lm)]
    return bench.recipe.compile.repeats if any(map(may_vary, models)) else 1


def describe_noise(test: Mapping[str, Evaluation]) -> str:
    """Say how much one run differs from another."""
    repeats = max(item.repeats for item in test.values())
    if repeats < 2:
        return "The language model answers alike each time: test questions were answered once."
    noise = ", ".join(f"{name} {item.noise:.3f}" for name, item in test.items())
    return (
        f"Every test question was answered {repeats} times, and its mean score counts. Standard "
        f"deviation of the mean from run to run: {noise}; the intervals hold it."
    )
