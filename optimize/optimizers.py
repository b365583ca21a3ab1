"""Settings in, a program with learned prompts out, through one of DSPy's optimizers.

One frozen class per optimizer says what it needs and how it is built; what it needs is checked
before a single call is spent. Knows nothing of retrieval knobs.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import dspy
from dspy.teleprompt import BootstrapFewShot, BootstrapFewShotWithRandomSearch, LabeledFewShot

from optimize.data import Question, to_examples
from optimize.metrics import Metric
from optimize.pool import Progress
from programs.recipe import CompileSection
from retrievers.errors import CompileError


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an optimizer learns from.

    Attributes:
        train: Source of demonstrations.
        dev: What candidates are judged on.
        metric: Judges traces (a strict bool) and answers.
        threads: How many questions are answered at a time.
        progress: Told after every judged answer.
        judged: Numbers them.
    """

    train: Sequence[Question]
    dev: Sequence[Question]
    metric: Metric
    threads: int
    progress: Progress | None = None
    judged: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def judge(self, gold: Any, pred: Any, trace: Any = None, *_: Any) -> float | bool:
        """The metric, which also tells how many answers have been judged so far."""
        if self.progress:
            self.progress("prompts", next(self.judged), 0)
        return self.metric(gold, pred, trace)


class OptimizerSettings(Protocol):
    """One optimizer with its settings; frozen."""

    @property
    def least_examples(self) -> int:
        """How many train questions it cannot do without."""
        ...

    def run(self, program: dspy.Module, lesson: Lesson) -> dspy.Module:
        """Return a new program; the one handed in stays as it is."""
        ...


@dataclass(frozen=True, slots=True)
class NoOptimizer:
    """Leaves prompts as they are."""

    least_examples: int = 0

    def run(self, program: dspy.Module, lesson: Lesson) -> dspy.Module:
        return program.deepcopy()


@dataclass(frozen=True, slots=True)
class Labeled:
    """`dspy.LabeledFewShot`: questions and answers as demonstrations, without a call."""

    demos: int

    @property
    def least_examples(self) -> int:
        return 1

    def run(self, program: dspy.Module, lesson: Lesson) -> dspy.Module:
        optimizer = LabeledFewShot(k=self.demos)
        return optimizer.compile(program, trainset=to_examples(lesson.train))


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """`dspy.BootstrapFewShot`: the program's own good answers, contexts included."""

    labeled_demos: int
    bootstrapped_demos: int

    @property
    def least_examples(self) -> int:
        return max(1, self.bootstrapped_demos)

    def run(self, program: dspy.Module, lesson: Lesson) -> dspy.Module:
        optimizer = BootstrapFewShot(
            metric=lesson.judge,
            max_labeled_demos=self.labeled_demos,
            max_bootstrapped_demos=self.bootstrapped_demos,
            max_errors=len(lesson.train) + 1,
        )
        return optimizer.compile(program, trainset=to_examples(lesson.train))


@dataclass(frozen=True, slots=True)
class BootstrapRandomSearch:
    """`dspy.BootstrapFewShotWithRandomSearch`: several sets of demonstrations, the best on dev."""

    labeled_demos: int
    bootstrapped_demos: int
    candidates: int

    @property
    def least_examples(self) -> int:
        return max(1, self.bootstrapped_demos)

    def run(self, program: dspy.Module, lesson: Lesson) -> dspy.Module:
        optimizer = BootstrapFewShotWithRandomSearch(
            metric=lesson.judge,
            max_labeled_demos=self.labeled_demos,
            max_bootstrapped_demos=self.bootstrapped_demos,
            num_candidate_programs=self.candidates,
            num_threads=lesson.threads,
            max_errors=len(lesson.train) + len(lesson.dev) + 1,
        )
        train, dev = to_examples(lesson.train), to_examples(lesson.dev)
        return optimizer.compile(program, trainset=train, valset=dev)


def optimizer_settings(section: CompileSection) -> OptimizerSettings:
    """Return the optimizer that a recipe names, with the recipe's settings."""
    labeled, bootstrapped = section.max_labeled_demos, section.max_bootstrapped_demos
    match section.optimizer:
        case "none":
            return NoOptimizer()
        case "labeled":
            return Labeled(labeled)
        case "bootstrap":
            return Bootstrap(labeled, bootstrapped)
        case "bootstrap-random-search":
            return BootstrapRandomSearch(labeled, bootstrapped, section.candidates)


def check(settings: OptimizerSettings, lesson: Lesson) -> None:
    """Check what an optimizer needs, before a call is spent.

    Raises:
        CompileError: Too few train questions, demonstrations that are all switched off, or a
            metric that needs documents or evidence where a question has none.
    """
    name = type(settings).__name__
    if len(lesson.train) < settings.least_examples:
        raise CompileError(
            f"{name} needs at least {settings.least_examples} train questions, "
            f"there are {len(lesson.train)}.",
            hint="Add questions, or lower max_bootstrapped_demos.",
        )
    if isinstance(settings, (Bootstrap, BootstrapRandomSearch)) and not settings.bootstrapped_demos:
        raise CompileError(
            f"{name} with max_bootstrapped_demos = 0 has nothing to bootstrap.",
            hint='Set it to 1 or more, or use optimizer = "labeled".',
        )
    bare = [item for item in lesson.train if not (item.documents or item.evidence)]
    if lesson.metric.needs_sources and bare:
        raise CompileError(
            f"The metric {lesson.metric.name!r} needs documents or evidence, "
            f"and {len(bare)} questions have neither (the first is {bare[0].id!r}).",
            hint='Add them to the training set, or use metric = "answer_f1".',
        )


def run_optimizer(
    settings: OptimizerSettings, program: dspy.Module, lesson: Lesson, *, log: Path
) -> dspy.Module:
    """Learn prompts; what DSPy's optimizers print is added to the file `log`.

    The result is a new program that counts as not compiled: DSPy hides the parameters of an
    inner program with `_compiled` set, and then silently saves an incomplete state.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        learned = settings.run(program, lesson)
    for _, module in learned.named_sub_modules(skip_compiled=False):
        if isinstance(module, dspy.Module):
            module._compiled = False
    return learned
