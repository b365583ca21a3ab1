"""DSPy's optimizers that have a language model write, one frozen class of settings each.

Every field is an option of that optimizer, under `[compile.options]` in a recipe.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.propose import GroundedProposer
from dspy.teleprompt import COPRO, GEPA, SIMBA, MIPROv2, Teleprompter
from dspy.teleprompt import BetterTogether as DSPyBetterTogether
from dspy.teleprompt import InferRules as DSPyInferRules
from dspy.teleprompt.gepa import InstructionProposer

from ragwright.optimize.prompts.demonstrations import optimizer_option
from ragwright.optimize.prompts.description import describe_program
from ragwright.optimize.prompts.lesson import Lesson, OptimizerSettings
from ragwright.optimize.prompts.state import copy_signature
from ragwright.optimize.questions.data import to_examples

_AUTO = {"light": 10, "medium": 20, "heavy": 30}
"""About how many candidates DSPy tries at each of its levels."""


@dataclass(frozen=True, slots=True)
class Copro:
    """`dspy.COPRO`: instructions by coordinate ascent, scored on train.

    Attributes:
        breadth: Instructions that are written at a time.
        depth: How often the best are shown and new ones written.
        temperature: Of the model that writes.
    """

    breadth: int = optimizer_option(5, least=2)
    depth: int = optimizer_option(2, least=1)
    temperature: float = optimizer_option(1.0, least=0)

    least_examples = 1
    needs_writer = True

    def estimated_answers(self, train: int, dev: int) -> int:
        return self.breadth * self.depth * (train + 1)

    def build(self, lesson: Lesson) -> Teleprompter:
        return COPRO(
            prompt_model=lesson.writing_lm,
            metric=lesson.judge,
            breadth=self.breadth,
            depth=self.depth,
            init_temperature=self.temperature,
        )

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        threads = {"num_threads": lesson.threads, "display_progress": False}
        return {"eval_kwargs": threads}


class DescribedMIPROv2(MIPROv2):
    """Tells its writer in a few lines what the program does, instead of showing all its source."""

    def _propose_instructions(
        self, program: Any, trainset: list[Any], demo_candidates: Any, *given: Any, **named: Any
    ) -> dict[int, list[str]]:
        wanted = inspect.signature(super()._propose_instructions).bind(
            program, trainset, demo_candidates, *given, **named
        )
        told = wanted.arguments
        proposer = GroundedProposer(
            self.prompt_model,
            program,
            trainset,
            view_data_batch_size=told["view_data_batch_size"],
            use_dataset_summary=told["data_aware_proposer"],
            program_aware=False,
            use_task_demos=told["fewshot_aware_proposer"],
            use_tip=told["tip_aware_proposer"],
            set_tip_randomly=told["tip_aware_proposer"],
            use_instruct_history=False,
            set_history_randomly=False,
            rng=self.rng,
            init_temperature=self.init_temperature,
        )
        proposer.program_aware = told["program_aware_proposer"]
        proposer.program_code_string = describe_program(program)
        written: dict[int, list[str]] = proposer.propose_instructions_for_program(
            trainset=trainset, program=program, demo_candidates=demo_candidates,
            trial_logs={}, N=told["num_instruct_candidates"],
        )  # fmt: skip
        for place, predictor in enumerate(program.predictors()):
            # What could not be written stands there as the instruction that there is.
            texts = [predictor.signature.instructions, *written[place][1:]]
            written[place] = list(dict.fromkeys(texts))
        return written


@dataclass(frozen=True, slots=True)
class Mipro:
    """`dspy.MIPROv2`: instructions and demonstrations, combined by Optuna on dev.

    Attributes:
        auto: "light", "medium" or "heavy"; "" to give instructions and trials yourself.
        instructions: How many instructions are written, with auto = "".
        trials: Combinations that are tried, with auto = "".
        labeled_demos: In a prompt, at most.
        bootstrapped_demos: In a prompt, at most.
    """

    auto: str = optimizer_option("light")
    instructions: int = optimizer_option(4, least=1)
    trials: int = optimizer_option(8, least=1)
    labeled_demos: int = optimizer_option(4, least=0)
    bootstrapped_demos: int = optimizer_option(2, least=0)

    needs_writer = True

    @property
    def least_examples(self) -> int:
        return max(2, self.bootstrapped_demos)

    def estimated_answers(self, train: int, dev: int) -> int:
        tried, written = self.trials, self.instructions
        if self.auto:
            tried = written = _AUTO[self.auto]
        return (tried + 1) * dev + written * (train + 2)

    def build(self, lesson: Lesson) -> Teleprompter:
        return DescribedMIPROv2(
            metric=lesson.judge,
            prompt_model=lesson.writing_lm,
            task_model=lesson.lm,
            auto=self.auto or None,
            num_candidates=None if self.auto else self.instructions,
            max_labeled_demos=self.labeled_demos,
            max_bootstrapped_demos=self.bootstrapped_demos,
            num_threads=lesson.threads,
            seed=lesson.seed,
        )

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        dev = to_examples(lesson.dev)
        if self.auto:
            return {"valset": dev}
        return {"valset": dev, "num_trials": self.trials, "minibatch": False}


@dataclass(frozen=True, slots=True)
class Simba:
    """`dspy.SIMBA`: rules and demonstrations from the questions answered most unevenly, on train.

    Attributes:
        batch: Questions in a step.
        candidates: Programs that a step makes.
        steps: How many steps.
        demos: In a prompt, at most.
    """

    batch: int = optimizer_option(16, least=1)
    candidates: int = optimizer_option(4, least=1)
    steps: int = optimizer_option(4, least=1)
    demos: int = optimizer_option(4, least=0)

    needs_writer = True

    @property
    def least_examples(self) -> int:
        return self.batch

    def estimated_answers(self, train: int, dev: int) -> int:
        a_step = (2 * self.batch + 1) * self.candidates
        return a_step * self.steps + (self.candidates + 1) * train

    def build(self, lesson: Lesson) -> Teleprompter:
        return SIMBA(
            metric=lesson.judge,
            bsize=self.batch,
            num_candidates=self.candidates,
            max_steps=self.steps,
            max_demos=self.demos,
            prompt_model=lesson.writing_lm,
            num_threads=lesson.threads,
        )

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        return {"seed": lesson.seed}


@dataclass(frozen=True, slots=True)
class Gepa:
    """`dspy.GEPA`: instructions rewritten after reading why answers were wrong, kept by dev.

    Attributes:
        auto: "light", "medium" or "heavy"; "" to give answers yourself.
        answers: How many answers may be judged, with auto = "".
        batch: Answers that one reflection reads.
    """

    auto: str = optimizer_option("")
    answers: int = optimizer_option(400, least=1)
    batch: int = optimizer_option(3, least=1)

    least_examples = 1
    needs_writer = True

    def estimated_answers(self, train: int, dev: int) -> int:
        judged = 2 * _AUTO[self.auto] * dev if self.auto else self.answers
        return judged + judged // self.batch

    def build(self, lesson: Lesson) -> Teleprompter:
        return GEPA(
            instruction_proposer=InstructionProposer(adapter=dspy.settings.adapter),
            metric=lesson.reflect,
            auto=self.auto or None,
            max_metric_calls=None if self.auto else self.answers,
            reflection_minibatch_size=self.batch,
            reflection_lm=lesson.writing_lm,
            num_threads=lesson.threads,
            seed=lesson.seed,
        )

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        return {"valset": to_examples(lesson.dev)}


class InferRulesPerCopy(DSPyInferRules):
    """DSPy writes the rules into the signature, which every copy of the program shares."""

    def update_program_instructions(
        self, predictor: dspy.Predict, natural_language_rules: str
    ) -> None:
        copy_signature(predictor)
        if not natural_language_rules:
            return
        super().update_program_instructions(predictor, natural_language_rules)


@dataclass(frozen=True, slots=True)
class InferRules:
    """`dspy.InferRules`: rules inferred from train, added to the instructions, chosen on dev.

    Attributes:
        candidates: Sets of rules that are tried.
        rules: In a set.
        labeled_demos: In a prompt, at most.
        bootstrapped_demos: In a prompt, at most.
    """

    candidates: int = optimizer_option(4, least=1)
    rules: int = optimizer_option(6, least=1)
    labeled_demos: int = optimizer_option(4, least=0)
    bootstrapped_demos: int = optimizer_option(2, least=0)

    needs_writer = True

    @property
    def least_examples(self) -> int:
        return max(1, self.bootstrapped_demos)

    def estimated_answers(self, train: int, dev: int) -> int:
        return train + self.candidates * (dev + 1)

    def build(self, lesson: Lesson) -> Teleprompter:
        optimizer = InferRulesPerCopy(
            num_candidates=self.candidates,
            num_rules=self.rules,
            num_threads=lesson.threads,
            metric=lesson.judge,
            max_labeled_demos=self.labeled_demos,
            max_bootstrapped_demos=self.bootstrapped_demos,
        )
        # The optimizer's teacher_settings would set the model of the bootstrapping teacher too.
        optimizer.rules_induction_program.teacher_settings = {"lm": lesson.writing_lm}
        return optimizer

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        return {"valset": to_examples(lesson.dev)}


@dataclass(frozen=True, slots=True)
class BetterTogether:
    """`dspy.BetterTogether`: several optimizers, one after the other, the best stage on dev.

    Attributes:
        strategy: Names of optimizers, joined by " -> ".
        steps: Their settings, by name; made from the strategy.
    """

    strategy: str = optimizer_option("bootstrap -> copro")
    steps: Mapping[str, OptimizerSettings] = field(default_factory=dict)

    @property
    def needs_writer(self) -> bool:
        return any(step.needs_writer for step in self.steps.values())

    @property
    def least_examples(self) -> int:
        return max(step.least_examples for step in self.steps.values())

    def estimated_answers(self, train: int, dev: int) -> int:
        names = self.strategy.split(" -> ")
        of_steps = sum(self.steps[name].estimated_answers(train, dev) for name in names)
        return of_steps + (len(names) + 1) * dev

    def build(self, lesson: Lesson) -> Teleprompter:
        optimizers = {_key(name): step.build(lesson) for name, step in self.steps.items()}
        return DSPyBetterTogether(metric=lesson.judge, **optimizers)

    def arguments(self, lesson: Lesson) -> dict[str, Any]:
        return {
            "valset": to_examples(lesson.dev),
            "strategy": " -> ".join(_key(name) for name in self.strategy.split(" -> ")),
            "num_threads": lesson.threads,
            "seed": lesson.seed,
            "optimizer_compile_args": {
                _key(name): step.arguments(lesson) for name, step in self.steps.items()
            },
        }


def _key(name: str) -> str:
    """The name as BetterTogether takes it: a keyword."""
    return name.replace("-", "_")
