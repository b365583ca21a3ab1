"""Builds the optimizer that a recipe names or a user hands in, and checks what it needs.

What an optimizer needs is checked before a single call is spent. The optimizers themselves are in
`demonstrations.py` and `instructions.py`, the user's own in `teleprompters.py`. Knows nothing of
retrieval knobs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib.util import find_spec
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from ragwright.optimize.prompts.demonstrations import (
    Bootstrap,
    BootstrapOptuna,
    BootstrapRandomSearch,
    BootstrapSettings,
    Labeled,
    NoOptimizer,
)
from ragwright.optimize.prompts.instructions import (
    BetterTogether,
    Copro,
    Gepa,
    InferRules,
    Mipro,
    Simba,
)
from ragwright.optimize.prompts.lesson import Lesson, OptimizerSettings
from ragwright.optimize.prompts.teleprompters import (
    REFUSED,
    OutsideTeleprompter,
    custom_optimizer_settings,
)
from ragwright.programs.sections import CompileSection
from ragwright.retrievers.errors import CompileError, RecipeError
from ragwright.retrievers.trust import import_allowed, is_importable, require_subclass

OPTIMIZERS: Mapping[str, type[Any]] = {
    "none": NoOptimizer,
    "labeled": Labeled,
    "bootstrap": Bootstrap,
    "bootstrap-random-search": BootstrapRandomSearch,
    "bootstrap-optuna": BootstrapOptuna,
    "copro": Copro,
    "mipro": Mipro,
    "simba": Simba,
    "gepa": Gepa,
    "infer-rules": InferRules,
    "better-together": BetterTogether,
}
_ASKING = ("requires_permission_to_run",)
"""What calls of DSPy's optimizers often say, and means nothing here."""


def settings_with_options(
    section: CompileSection, given: Teleprompter | None, options: Mapping[str, Any]
) -> OptimizerSettings:
    """Return the settings of what learns the prompts, where `compile` was called with options.

    Raises:
        CompileError: It does not take them.
    """
    wanted = {name: value for name, value in options.items() if name not in _ASKING}
    if given is not None:
        return custom_optimizer_settings(given, wanted)
    if wanted:
        raise CompileError(
            f"JointOptimizer.compile takes no {min(wanted)!r}.",
            hint="Settings go to JointOptimizer(...), those of an optimizer as options={...}.",
        )
    return optimizer_settings(section)


def optimizer_settings(
    section: CompileSection, load: Callable[[str], Any] | None = None
) -> OptimizerSettings:
    """Return the optimizer that a recipe names, with the recipe's settings.

    Args:
        section: The recipe's [compile].
        load: Imports what is named `module:Class`, as far as it is allowed: `Recipe.part`.

    Raises:
        RecipeError: There is no such optimizer, or `options` holds one that it does not have, or
            of a wrong type.
        InputError: It is a class from outside that was not allowed, or no teleprompter.
    """
    name = section.optimizer
    if is_importable(name):
        made = require_subclass((load or import_allowed)(name), Teleprompter, name)
        return OutsideTeleprompter(made, tuple(sorted(section.options.items())))
    _check_name(name)
    return _settings(name, section, section.options)


def _check_name(name: str) -> None:
    if name in REFUSED:
        raise RecipeError(
            f"compile.optimizer: {name!r} is refused: {REFUSED[name]}.",
            hint="docs/optimizers.md lists those that work.",
        )
    if name not in OPTIMIZERS:
        listed = ", ".join(map(repr, OPTIMIZERS))
        near = difflib.get_close_matches(name, OPTIMIZERS, n=1)
        meant = f", did you mean {near[0]!r}?" if near else "."
        raise RecipeError(
            f"compile.optimizer: Input should be {listed} or module:Class (got {name!r}){meant}",
            hint="docs/optimizers.md says what each of them does.",
        )


def check_optimizer(settings: OptimizerSettings, lesson: Lesson) -> None:
    """Check what an optimizer needs, before a call is spent.

    Raises:
        CompileError: Too few train questions, demonstrations that are all switched off, a language
            model that does not write where one must, no optuna, or a metric that needs documents
            or evidence where a question has none.
    """
    name = type(settings).__name__
    if len(lesson.train) < settings.least_examples:
        raise CompileError(
            f"{name} needs at least {settings.least_examples} train questions, "
            f"there are {len(lesson.train)}.",
            hint="Add questions, or lower max_bootstrapped_demos or the optimizer's batch.",
        )
    _check_demos(settings, name)
    _check_model(settings, lesson, name)
    bare = [item for item in lesson.train if not (item.documents or item.evidence)]
    if lesson.metric.needs_sources and bare:
        raise CompileError(
            f"The metric {lesson.metric.name!r} needs documents or evidence, "
            f"and {len(bare)} questions have neither (the first is {bare[0].id!r}).",
            hint='Add them to the training set, or use metric = "answer_f1".',
        )


def _check_demos(settings: OptimizerSettings, name: str) -> None:
    if isinstance(settings, BootstrapSettings) and not settings.bootstrapped_demos:
        raise CompileError(
            f"{name} with max_bootstrapped_demos = 0 has nothing to bootstrap.",
            hint='Set it to 1 or more, or use optimizer = "labeled".',
        )
    if isinstance(settings, (BootstrapOptuna, Mipro)) and find_spec("optuna") is None:
        raise CompileError(f"{name} needs optuna.", hint="pip install 'dspy[optuna]'.")


def _check_model(settings: OptimizerSettings, lesson: Lesson, name: str) -> None:
    what = f"The metric {lesson.metric.name!r}" if lesson.metric.needs_writer else ""
    what = name if settings.needs_writer else what
    if what and lesson.writing_lm is None:
        model = (lesson.writer or lesson.lm or dspy.settings.lm).model
        raise CompileError(
            f"{what} needs a language model that writes, and {model!r} does not.",
            hint='Name one as writer under [compile], or as --lm: "openai/gpt-4o-mini".',
        )


def _settings(
    name: str, section: CompileSection, options: Mapping[str, bool | int | float | str]
) -> OptimizerSettings:
    kind = OPTIMIZERS[name]
    own = {field.name: field for field in fields(kind) if field.metadata.get("option")}
    shared = {"demos": section.max_labeled_demos, "labeled_demos": section.max_labeled_demos,
              "bootstrapped_demos": section.max_bootstrapped_demos,
              "candidates": section.candidates}  # fmt: skip
    named = {field.name for field in fields(kind)} - set(own)
    values: dict[str, Any] = {key: value for key, value in shared.items() if key in named}
    for key, value in options.items():
        _check_option(name, key, value, own)
        values[key] = value
    if kind is BetterTogether:
        steps = str(options.get("strategy", own["strategy"].default)).split(" -> ")
        values["steps"] = {step: _step(step, section) for step in steps}
    found: OptimizerSettings = kind(**values)
    return found


def _step(name: str, section: CompileSection) -> OptimizerSettings:
    if name not in OPTIMIZERS or name in ("none", "better-together"):
        raise RecipeError(
            f"better-together cannot run {name!r}.",
            hint='Write its strategy as "bootstrap -> copro", of the names in docs/optimizers.md.',
        )
    return _settings(name, section, {})


def _check_option(name: str, key: str, value: object, own: Mapping[str, Any]) -> None:
    if key not in own:
        raise RecipeError(
            f"The optimizer {name!r} has no option {key!r}.",
            hint=f"It has: {', '.join(own) or 'none'}.",
        )
    wanted = type(own[key].default)
    if type(value) is not wanted and not (wanted is float and type(value) is int):
        raise RecipeError(
            f"The option {key!r} of {name!r} is {value!r}, wanted is {wanted.__name__}."
        )
    least = own[key].metadata.get("least")
    if least is not None and isinstance(value, (int, float)) and value < least:
        raise RecipeError(
            f"The option {key!r} of {name!r} is {value!r}, at least {least} is wanted."
        )
