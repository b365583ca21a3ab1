"""Computes what a report shows: a sentence, a line per program, pairs of answers, prompts.

Knows nothing of the forms a report is written in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from dspy import Signature

from ragwright.optimize.report.descriptions import describe_verdict
from ragwright.optimize.report.plots import (
    DiffPiece,
    Frontier,
    Panel,
    Tick,
    frontier,
    knob_panels,
    trial_heights,
    trial_ticks,
    word_differences,
)
from ragwright.optimize.result import (
    BASELINE,
    BOTH,
    KNOBS_ONLY,
    PROMPTS_ONLY,
    START,
    CompileResult,
)
from ragwright.optimize.retrieval.search import Search
from ragwright.optimize.scoring.attribution import FAILURES, Failure, count_failures
from ragwright.optimize.scoring.evaluation import Evaluation, EvaluationRow
from ragwright.optimize.scoring.statistics import Gain, Mean
from ragwright.optimize.setting import short_stage_name

REMEDIES: Mapping[Failure, str] = {
    "not in corpus": "What they ask for is in no document: add documents, or drop the questions.",
    "not in pool": "Retrieval does not find it at all: cut documents otherwise, or take another "
    "embedder.",
    "lost in fusion or rerank": "Retrieval finds it and ranks it too low: a better reranker, or a "
    "larger k.",
    "cut by the budget": "It was found and did not fit: more context_tokens, or smaller chunks.",
    "in context but misread": "It stood before the language model: another model, or another "
    "prompt.",
    "no label": "Nothing tells where their answers stand, and no passage has them word for word: "
    "name their documents or evidence.",
}
"""What can help where most answers fail so."""
PROGRAMS: Mapping[str, str] = {
    BASELINE: "what the others are compared with",
    START: "the knobs that the recipe has, untuned",
    KNOBS_ONLY: "retrieval tuned, prompts as they were",
    PROMPTS_ONLY: "prompts learned, retrieval as in the baseline",
    BOTH: "both of these",
}
"""What the compared programs are."""
STAGES: Mapping[str, str] = {
    "variants": "cuts the documents in each way, and compares what is found",
    "pool": "fetches the candidates of every question, once",
    "baseline": "answers dev with the program as it was",
    "retrieval": "tries retrieval settings on the pool",
    "halving": "answers dev with the best settings, the better half on more questions each time",
    "prompts": "learns instructions and demonstrations",
    "shortlist": "answers dev with the best settings again, under the learned prompts",
    "choice": "answers all of dev with the finalists",
    "test": "answers test, once, after the choice",
}
"""What a stage of the spend does."""


@dataclass(frozen=True)
class ProgramLine:
    """One compared program: its scores on dev and test."""

    name: str
    chosen: bool
    test: Mean
    gain: Gain
    dev: float
    seconds: float
    tokens: float
    errors: Mapping[str, int]


@dataclass(frozen=True)
class Pair:
    """One test question, answered by the baseline and by the compiled program."""

    baseline: EvaluationRow
    compiled: EvaluationRow
    baseline_failure: Failure | None
    compiled_failure: Failure | None

    @property
    def difference(self) -> float:
        """By how much the compiled answer is better."""
        return self.compiled.score - self.baseline.score


@dataclass(frozen=True)
class Demonstration:
    """An example in a prompt, in a line.

    Attributes:
        asked: The question, or the first input that is there.
        said: The answer, or the last output that is there.
        context: Its passages, if it shows any.
        augmented: Whether it was made by a run of the program.
    """

    asked: str
    said: str
    context: tuple[str, ...]
    augmented: bool

    @classmethod
    def of(cls, signature: type[Signature], demo: Mapping[str, Any]) -> Self:
        """Read what a predictor with this signature is shown; any field may be missing."""
        inputs = [demo[name] for name in signature.input_fields if name in demo]
        outputs = [demo[name] for name in signature.output_fields if name in demo]
        context = demo.get("context", ())
        return cls(
            asked=str(demo.get("question", next(iter(inputs), ""))),
            said=str(demo.get("answer", next(reversed(outputs), ""))),
            context=tuple(map(str, [context] if isinstance(context, str) else context)),
            augmented=bool(demo.get("augmented")),
        )


@dataclass(frozen=True)
class PromptView:
    """What one predictor says to the language model, as a difference from the baseline."""

    name: str
    pieces: tuple[DiffPiece, ...]
    demos: tuple[Demonstration, ...]
    demos_before: int

    @property
    def changed(self) -> bool:
        """Whether the instructions are other than the baseline's."""
        return any(kind != "same" for kind, _ in self.pieces)


@dataclass(frozen=True)
class StageView:
    """How the knobs of one stage were found.

    Attributes:
        name: Of the stage; "" where there is only one.
        search: What was tried.
        panels: The objective against each parameter.
        heights: Where each trial stands on the plot, from 0 to 1.
        ticks: Round scores on the same scale.
    """

    name: str
    search: Search
    panels: tuple[Panel, ...]
    heights: list[float]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class View:
    """Everything that a report shows."""

    result: CompileResult
    sentence: str
    next_step: str
    lines: tuple[ProgramLine, ...]
    pairs: tuple[Pair, ...]
    failures: Mapping[str, Mapping[Failure, int]]
    prompts: tuple[PromptView, ...]
    stages: tuple[StageView, ...]
    frontier: Frontier

    @property
    def spent_tokens(self) -> int:
        """Tokens of the whole compile."""
        return sum(stage.prompt_tokens + stage.completion_tokens for stage in self.result.spend)

    @property
    def remedy(self) -> str:
        """Where most wrong answers of the compiled program fail, and what can help."""
        counts = self.failures["compiled"]
        kind = max(counts, key=lambda one: counts[one])
        if not counts[kind]:
            return ""
        return f"Most often {kind} ({counts[kind]} of {sum(counts.values())}). {REMEDIES[kind]}"

    @property
    def wins(self) -> list[Pair]:
        """Questions that got better, most first."""
        better = (pair for pair in self.pairs if pair.difference > 0)
        return sorted(better, key=lambda pair: -pair.difference)

    @property
    def losses(self) -> list[Pair]:
        """Questions that got worse, most first."""
        worse = (pair for pair in self.pairs if pair.difference < 0)
        return sorted(worse, key=lambda pair: pair.difference)


def build_report_view(result: CompileResult) -> View:
    """Work out what the report of a compile shows."""
    wrong = {name: [bool(place) for place in places] for name, places in result.failures.items()}
    return View(
        result=result,
        sentence=describe_verdict(result),
        next_step=_next_step(result),
        lines=tuple(_line(result, name, item) for name, item in result.test.items()),
        pairs=tuple(
            Pair(*rows)
            for rows in zip(
                result.baseline.rows,
                result.compiled.rows,
                result.failures[BASELINE],
                result.failures["compiled"],
                strict=True,
            )
        ),
        failures={
            name: count_failures([place or FAILURES[-1] for place in places], wrong[name])
            for name, places in result.failures.items()
        },
        prompts=_prompts(result),
        stages=_stages(result),
        frontier=frontier(result),
    )


def _stages(result: CompileResult) -> tuple[StageView, ...]:
    """Every stage whose knobs were searched, in the order of the program."""
    several = len(result.setting) > 1
    return tuple(
        StageView(
            short_stage_name(place) if several else "",
            found,
            knob_panels(found, result.setting[place]),
            trial_heights(found.trials),
            trial_ticks(found.trials),
        )
        for place, found in result.searches.items()
        if found.trials
    )


def _prompts(result: CompileResult) -> tuple[PromptView, ...]:
    """Every predictor of the compiled program beside the same one as it was written."""
    before = dict(result.student.named_predictors())
    return tuple(
        PromptView(
            name=name,
            pieces=word_differences(
                before[name].signature.instructions, predictor.signature.instructions
            ),
            demos=tuple(
                Demonstration.of(predictor.signature, dict(demo)) for demo in predictor.demos
            ),
            demos_before=len(before[name].demos),
        )
        for name, predictor in result.program.named_predictors()
    )


def _next_step(result: CompileResult) -> str:
    """What a person does now."""
    gain = result.gain
    if result.verdict != "keep the baseline":
        first = "read the questions that got worse, then " if gain.losses else ""
        return f"To do: {first}let the name mean this version: rag artifacts promote NAME."
    if gain.gain <= 0:
        return "To do: keep what runs. Where wrong answers fail says what may help more."
    wanted = math.ceil(gain.n * (gain.detectable / gain.gain) ** 2)
    if wanted <= gain.n:  # the interval would do, and so few answers differ that p does not
        return "To do: keep what runs, or take more questions: answers to too few of them differ."
    return (
        f"To do: keep what runs, or take more questions. If the true gain is as large as this one, "
        f"some {_round(wanted):,} test questions would show it 4 times out of 5."
    )


def _round(count: int) -> int:
    """Two digits that count, rounded up."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // unit) * unit


def _line(result: CompileResult, name: str, evaluation: Evaluation) -> ProgramLine:
    return ProgramLine(
        name=name,
        chosen=name == result.chosen,
        test=evaluation.interval(seed=result.recipe.compile.seed),
        gain=result.ablation[name],
        dev=result.dev[name].mean,
        seconds=evaluation.seconds,
        tokens=evaluation.tokens,
        errors=evaluation.errors,
    )
