"""Teleprompters of the user's own: handed in ready made, or a class that a recipe names.

What one is to be called with is checked before anything is spent; its language models are put under
the compile's account, and its metrics watched.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.teleprompt import GEPA, BootstrapFinetune, Ensemble, KNNFewShot, Teleprompter
from dspy.teleprompt.gepa import InstructionProposer

from ragwright.optimize.prompts.lesson import Lesson, OptimizerSettings, takes_argument
from ragwright.optimize.questions.data import to_examples
from ragwright.optimize.spending.metered import MeteredLM, known_prices
from ragwright.programs.fallback import error_line
from ragwright.retrievers.errors import CompileError

REFUSED = {
    "knn": "KNNFewShot chooses demonstrations inside a patched forward, which no saved state holds",
    "ensemble": "Ensemble builds a class of its own around several programs, which no saved state "
    "holds",
}
_REFUSED_CLASSES: Mapping[type[Any], str] = {
    KNNFewShot: REFUSED["knn"],
    Ensemble: REFUSED["ensemble"],
    BootstrapFinetune: "BootstrapFinetune changes a model's weights, which no saved state holds",
}
_METRICS = ("metric", "metric_fn")
"""What DSPy's optimizers call the metric that they were given."""


@dataclass(frozen=True, slots=True)
class UserTeleprompter:
    """A teleprompter that was handed in ready made, with its own metric.

    Attributes:
        options: What else its `compile` is called with.
    """

    teleprompter: Teleprompter
    options: Mapping[str, Any] = field(default_factory=dict)
    needs_writer: bool = False
    least_examples: int = 1

    def estimated_answers(self, train: int, dev: int) -> int:
        return train

    def build(self, lesson: Lesson) -> Teleprompter:
        """Return it with its own language models entered in the compile's account, and capped."""
        return _watched(self.teleprompter, lesson)

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        """Return what it is called with; one that joins others runs each of them once, in order."""
        dev = (
            {"valset": to_examples(lesson.dev)}
            if takes_argument(self.teleprompter, "valset")
            else {}
        )
        steps = _joined(self.teleprompter)
        order = {"strategy": " -> ".join(steps)} if steps else {}
        return {**dev, **order, **self.options}


def _joined(teleprompter: Teleprompter) -> Mapping[str, Teleprompter]:
    """The optimizers that `dspy.BetterTogether` runs, by name; of any other none."""
    joins = isinstance(teleprompter, dspy.BetterTogether)
    found: Mapping[str, Teleprompter] = teleprompter.optimizers if joins else {}
    return found


@dataclass(frozen=True, slots=True)
class OutsideTeleprompter:
    """A teleprompter that a recipe names as `module:Class`; the recipe's options are its arguments.

    It is given our metric, if it takes one.
    """

    made: type[Teleprompter]
    options: tuple[tuple[str, Any], ...] = ()
    needs_writer: bool = False
    least_examples: int = 1

    def estimated_answers(self, train: int, dev: int) -> int:
        return train

    def build(self, lesson: Lesson) -> Teleprompter:
        options = dict(self.options)
        if "metric" in inspect.signature(self.made).parameters:
            options["metric"] = lesson.judge
        try:
            return self.made(**options)
        except TypeError as error:
            raise CompileError(
                f"{self.made.__name__} cannot be built with the options {dict(self.options)!r}: "
                f"{error}.",
                hint="Put what it is called with under [compile.options].",
            ) from error

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        takes = inspect.signature(self.made.compile).parameters
        return {"valset": to_examples(lesson.dev)} if "valset" in takes else {}


def custom_optimizer_settings(
    teleprompter: Teleprompter, options: Mapping[str, Any] | None = None
) -> OptimizerSettings:
    """Return the settings of a teleprompter of the user's own.

    Args:
        teleprompter: As it was made.
        options: What else its `compile` is called with.

    Raises:
        CompileError: It is none, or one whose result no saved state describes, or its `compile`
            does not take the options, or needs more.
    """
    if not isinstance(teleprompter, Teleprompter):
        raise CompileError(
            f"{type(teleprompter).__name__} is not a dspy.teleprompt.Teleprompter.",
            hint="Subclass Teleprompter, with compile(student, *, trainset, valset=None).",
        )
    for one in (teleprompter, *_joined(teleprompter).values()):
        for refused, reason in _REFUSED_CLASSES.items():
            if isinstance(one, refused):
                raise CompileError(f"{reason}.", hint="docs/optimizers.md lists those that work.")
    _check_options(teleprompter, options or {})
    return UserTeleprompter(teleprompter, options or {})


def _check_options(teleprompter: Teleprompter, options: Mapping[str, Any]) -> None:
    """Refuse what it would refuse once most is spent.

    Raises:
        CompileError: Its `compile` does not take an option, or needs another one.
    """
    name = type(teleprompter).__name__
    taken = inspect.signature(teleprompter.compile).parameters.values()
    known = {one.name for one in taken} - {"student", "trainset", "kwargs"}
    unknown = sorted(options.keys() - known)
    if unknown and not any(one.kind is one.VAR_KEYWORD for one in taken):
        raise CompileError(
            f"{name}.compile takes no {unknown[0]!r}.",
            hint=f"It takes {', '.join(sorted(known))}. Settings go to JointOptimizer(...).",
        )
    given = {"student", "trainset", *options}
    missing = [
        one.name
        for one in taken
        if one.default is one.empty
        and one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)
        and one.name not in given | {"valset"}
    ]
    if missing:
        raise CompileError(
            f"{name}.compile needs {missing[0]!r}, too.",
            hint=f"Hand it on: compile(student, trainset=..., {missing[0]}=...).",
        )


class WatchedMetric:
    """A metric of the user's own, which also remembers how often it failed, and how.

    DSPy's optimizers count an answer whose metric raised as a wrong one, and go on.
    """

    def __init__(self, metric: Callable[..., Any]) -> None:
        functools.update_wrapper(self, metric)
        self._metric = metric
        self.failures: list[str] = []

    def __call__(self, *given: Any, **named: Any) -> Any:
        try:
            return self._metric(*given, **named)
        except Exception as error:
            self.failures.append(error_line(error))
            raise


def _watched(teleprompter: Teleprompter, lesson: Lesson) -> Teleprompter:
    """A copy whose models are under the compile's account, and whose metrics are watched.

    The same for the teleprompters that it holds, as `dspy.BetterTogether` does.
    """
    twin = copy.copy(teleprompter)
    for name, held in vars(teleprompter).items():
        setattr(twin, name, _watched_part(name, held, lesson))
    if isinstance(twin, GEPA) and twin.custom_instruction_proposer is None:
        # Its own one reads nothing but JSON.
        twin.custom_instruction_proposer = InstructionProposer(adapter=dspy.settings.adapter)
    return twin


def _watched_part(name: str, held: Any, lesson: Lesson) -> Any:
    if isinstance(held, dspy.LM) and not isinstance(held, MeteredLM):
        if not isinstance(lesson.lm, MeteredLM):
            return held
        account = lesson.lm.account
        return MeteredLM(held, account, known_prices(held, account, None))
    if isinstance(held, Teleprompter):
        return _watched(held, lesson)
    if name in _METRICS and callable(held):
        return WatchedMetric(held)
    if isinstance(held, dict) and any(isinstance(one, Teleprompter) for one in held.values()):
        return {key: _watched_part("", one, lesson) for key, one in held.items()}
    return held


def failures_of_metric(teleprompter: Teleprompter) -> str:
    """Say how often the own metric of a teleprompter failed; empty if it never did."""
    for held in vars(teleprompter).values():
        if isinstance(held, WatchedMetric) and held.failures:
            return f"its own metric failed {len(held.failures)} times: {held.failures[0]}"
        inner = held.values() if isinstance(held, dict) else (held,)
        for one in inner:
            if isinstance(one, Teleprompter) and (said := failures_of_metric(one)):
                return said
    return ""
