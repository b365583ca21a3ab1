"""A compile's result in, `report.html`, `report.md` and `report.json` out.

The page is one file that loads nothing. Knows nothing of how the numbers were made, and writes
nothing that is not in the result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from optimize.attribution import FAILURES, Failure, count_failures
from optimize.evaluate import Evaluation, Row
from optimize.report_plots import (
    Frontier,
    Panel,
    Piece,
    differences,
    frontier,
    panels,
    trial_heights,
)
from optimize.result import BASELINE, CompileResult
from optimize.statistics import Gain, Mean
from programs.build import build_program

SHOWN = 25
"""How many wins and how many losses the page shows; `report.json` has every question."""


@dataclass(frozen=True)
class Line:
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

    baseline: Row
    compiled: Row
    baseline_failure: Failure | None
    compiled_failure: Failure | None

    @property
    def difference(self) -> float:
        """By how much the compiled answer is better."""
        return self.compiled.score - self.baseline.score


@dataclass(frozen=True)
class Prompt:
    """What one predictor says to the language model, as a difference from the baseline."""

    name: str
    pieces: tuple[Piece, ...]
    demos: tuple[Mapping[str, Any], ...]
    demos_before: int

    @property
    def changed(self) -> bool:
        """Whether the instructions are other than the baseline's."""
        return any(kind != "same" for kind, _ in self.pieces)


@dataclass(frozen=True)
class View:
    """Everything the templates show."""

    result: CompileResult
    sentence: str
    lines: tuple[Line, ...]
    pairs: tuple[Pair, ...]
    failures: Mapping[str, Mapping[Failure, int]]
    prompts: tuple[Prompt, ...]
    panels: tuple[Panel, ...]
    heights: list[float]
    frontier: Frontier

    @property
    def spent_tokens(self) -> int:
        """Tokens of the whole compile."""
        return sum(stage.prompt_tokens + stage.completion_tokens for stage in self.result.spend)

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


def write_report(result: CompileResult, folder: str | Path) -> Path:
    """Write the three files into a folder and return the folder."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    view = _view(result)
    templates = Environment(
        loader=PackageLoader("optimize", "."),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("report.html", "report.md"):
        text = templates.get_template(f"{name}.j2").render(view=view, kinds=FAILURES, shown=SHOWN)
        (place / name).write_text(text, encoding="utf-8")
    facts = json.dumps(_facts(view), indent=1, ensure_ascii=False, allow_nan=False)
    (place / "report.json").write_text(facts + "\n", encoding="utf-8")
    return place


def _view(result: CompileResult) -> View:
    wrong = {name: [bool(place) for place in places] for name, places in result.failures.items()}
    return View(
        result=result,
        sentence=_sentence(result),
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
        panels=panels(result.search, result.knobs),
        heights=trial_heights(result.search.trials) if result.search.trials else [],
        frontier=frontier(result),
    )


def _prompts(result: CompileResult) -> tuple[Prompt, ...]:
    """Every predictor of the compiled program beside the same one as it was written."""
    before = dict(build_program(result.recipe).named_predictors())
    return tuple(
        Prompt(
            name=name,
            pieces=differences(
                before[name].signature.instructions, predictor.signature.instructions
            ),
            demos=tuple(map(dict, predictor.demos)),
            demos_before=len(before[name].demos),
        )
        for name, predictor in result.program.named_predictors()
    )


def _sentence(result: CompileResult) -> str:
    """The verdict in plain words."""
    gain = result.gain
    measured = (
        f"On {gain.n} test questions that nothing was selected on, the compiled program scores "
        f"{result.compiled.mean:.3f} and the baseline {result.baseline.mean:.3f}."
    )
    span = f"{gain.gain:+.3f}, with a 95 % interval from {gain.low:+.3f} to {gain.high:+.3f}"
    if result.verdict == "ship":
        return f"{measured} The gain is {span}: all of it above 0."
    return (
        f"{measured} The difference is {span}, which does not lie above 0. A true gain of "
        f"{gain.detectable:.3f} or more would have shown 4 times out of 5."
    )


def _line(result: CompileResult, name: str, evaluation: Evaluation) -> Line:
    return Line(
        name=name,
        chosen=name == result.chosen,
        test=evaluation.interval(seed=result.recipe.compile.seed),
        gain=result.ablation[name],
        dev=result.dev[name].mean,
        seconds=evaluation.seconds,
        tokens=evaluation.tokens,
        errors=evaluation.errors,
    )


def _facts(view: View) -> dict[str, Any]:
    """The report as plain JSON types."""
    result = view.result
    return {
        "name": result.recipe.name,
        "verdict": result.verdict,
        "summary": view.sentence,
        "metric": result.recipe.compile.metric,
        "chosen": result.chosen,
        "gain": asdict(result.gain),
        "parts": [
            {**asdict(part), "p_corrected": result.corrected_parts[part.name]}
            for part in result.parts
        ],
        "programs": [asdict(line) for line in view.lines],
        "knobs": result.knobs.model_dump(),
        "baseline_knobs": result.recipe.baseline.model_dump(),
        "retrieval": [{"name": row.name, "n": row.n, **row.means} for row in result.retrieval],
        "search": {
            "metric": result.recipe.compile.retrieval_metric,
            "gain": result.search.gain,
            "standard_error": result.search.standard_error,
            "questions": result.search.questions,
            "importance": dict(result.search.importance),
            "trials": [
                {"score": trial.score, **trial.knobs.model_dump()} for trial in result.search.trials
            ],
        },
        "failures": view.failures,
        "inputs": asdict(result.inputs),
        "seeds": {"split": result.recipe.data.seed, "compile": result.recipe.compile.seed},
        "spend": [asdict(stage) for stage in result.spend],
        "notes": list(result.notes),
        "questions": [_question(pair) for pair in view.pairs],
    }


def _question(pair: Pair) -> dict[str, Any]:
    """Both answers to a question; the contexts stand on the page only."""
    return {
        "id": pair.baseline.id,
        "question": pair.baseline.question,
        "expected": list(pair.baseline.expected),
        **{
            name: {
                "answer": row.answer,
                "score": row.score,
                "documents": list(row.documents),
                "citations": list(row.citations),
                "seconds": row.seconds,
                "error": row.error,
                "failure": failure,
            }
            for name, row, failure in (
                ("baseline", pair.baseline, pair.baseline_failure),
                ("compiled", pair.compiled, pair.compiled_failure),
            )
        },
    }
