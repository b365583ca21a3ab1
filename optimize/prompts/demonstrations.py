"""DSPy's optimizers that choose demonstrations, one frozen class of settings each.

A field marked as an option stands under `[compile.options]` in a recipe, the others stand under
`[compile]` itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dspy.teleprompt import (
    BootstrapFewShot,
    BootstrapFewShotWithRandomSearch,
    LabeledFewShot,
    Teleprompter,
)
from dspy.teleprompt.teleprompt_optuna import BootstrapFewShotWithOptuna

from ragwright.optimize.prompts.lesson import Lesson
from ragwright.optimize.questions.data import to_examples


def optimizer_option(default: Any, *, least: float | None = None) -> Any:
    """A setting of one optimizer alone."""
    return field(default=default, metadata={"option": True, "least": least})


@dataclass(frozen=True, slots=True)
class NoOptimizer:
    """Leaves prompts as they are."""

    least_examples = 0
    needs_writer = False

    def estimated_answers(self, train: int, dev: int) -> int:
        return 0

    def build(self, lesson: Lesson) -> Teleprompter:
        return LabeledFewShot(k=0)

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class Labeled:
    """`dspy.LabeledFewShot`: questions and answers as demonstrations, without a call."""

    demos: int

    least_examples = 1
    needs_writer = False

    def estimated_answers(self, train: int, dev: int) -> int:
        return 0

    def build(self, lesson: Lesson) -> Teleprompter:
        return LabeledFewShot(k=self.demos)

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class BootstrapSettings:
    """What all have in common that take demonstrations from the program's own good answers."""

    labeled_demos: int
    bootstrapped_demos: int

    needs_writer = False

    @property
    def least_examples(self) -> int:
        return max(1, self.bootstrapped_demos)

    def limits(self, lesson: Lesson) -> dict[str, Any]:
        """The metric, and how many demonstrations a prompt may hold."""
        return {
            "metric": lesson.judge,
            "max_labeled_demos": self.labeled_demos,
            "max_bootstrapped_demos": self.bootstrapped_demos,
        }


@dataclass(frozen=True, slots=True)
class Bootstrap(BootstrapSettings):
    """`dspy.BootstrapFewShot`: the program's own good answers, contexts included."""

    def estimated_answers(self, train: int, dev: int) -> int:
        return train

    def build(self, lesson: Lesson) -> Teleprompter:
        return BootstrapFewShot(**self.limits(lesson))

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class BootstrapRandomSearch(BootstrapSettings):
    """`dspy.BootstrapFewShotWithRandomSearch`: several sets of demonstrations, the best on dev."""

    candidates: int

    def estimated_answers(self, train: int, dev: int) -> int:
        return (self.candidates + 3) * dev + (self.candidates + 1) * train

    def build(self, lesson: Lesson) -> Teleprompter:
        return BootstrapFewShotWithRandomSearch(
            **self.limits(lesson),
            num_candidate_programs=self.candidates,
            num_threads=lesson.threads,
        )

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        return {"valset": to_examples(lesson.dev)}


@dataclass(frozen=True, slots=True)
class BootstrapOptuna(BootstrapSettings):
    """`dspy.BootstrapFewShotWithOptuna`: Optuna picks one demonstration per predictor, on dev."""

    candidates: int

    def estimated_answers(self, train: int, dev: int) -> int:
        return self.candidates * dev + train

    def build(self, lesson: Lesson) -> Teleprompter:
        optimizer = _SeededOptuna(
            **self.limits(lesson),
            num_candidate_programs=self.candidates,
            num_threads=lesson.threads,
        )
        optimizer.seed = lesson.seed
        return optimizer

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        return {"valset": to_examples(lesson.dev), "max_demos": self.bootstrapped_demos}


class _SeededOptuna(BootstrapFewShotWithOptuna):
    """DSPy draws from an unseeded sampler; this one proposes the same whenever it is run."""

    seed: int = 0

    def objective(self, trial: Any) -> float:
        import optuna

        seed = self.seed * 100_003 + trial.number
        trial.study.sampler = optuna.samplers.TPESampler(seed=seed)
        score: float = super().objective(trial)
        return score
