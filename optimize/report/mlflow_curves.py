"""How a compile went, as MLflow's curves: the search, the best so far, what was spent.

Every curve has steps; what is one number is no curve and stands in `mlflow_run.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate

from ragwright.optimize.report.descriptions import LONGEST
from ragwright.optimize.result import CompileResult
from ragwright.optimize.setting import short_stage_name

CurvePoint = tuple[str, float, int]
"""A metric's name, its value, and its step."""
_UNNAMEABLE = re.compile(r"[^\w.\-/ ]")


def curve_points(result: CompileResult) -> Iterator[CurvePoint]:
    """Return every point: `search/...` by trial, `best_dev` by candidate, the rest by stage."""
    yield from _search(result)
    yield from _best(result)
    yield from _spent(result)


def mlflow_name(text: str) -> str:
    """Put `_` for what MLflow takes in no name, and cut off what is too long for one."""
    return _UNNAMEABLE.sub("_", text)[:LONGEST]


def _search(result: CompileResult) -> Iterator[CurvePoint]:
    metric = mlflow_name(result.recipe.compile.retrieval_metric)
    several = len(result.searches) > 1
    for place, found in result.searches.items():
        group = f"search {short_stage_name(place)}" if several else "search"
        scores = [trial.score for trial in found.trials]
        yield from _curve(mlflow_name(f"{group}/{metric}"), scores)
        yield from _curve(mlflow_name(f"{group}/best {metric}"), list(accumulate(scores, max)))


def _best(result: CompileResult) -> Iterator[CurvePoint]:
    """Of the candidates that were asked all dev questions, in the order they were judged."""
    asked = len(result.splits.dev)
    scores = [one.dev for one in result.candidates if one.questions == asked]
    yield from _curve("progress/dev", scores)
    yield from _curve("progress/best dev", list(accumulate(scores, max)))


def _spent(result: CompileResult) -> Iterator[CurvePoint]:
    spend = result.spend
    amounts: dict[str, list[float]] = {
        "calls": [stage.calls for stage in spend],
        "tokens": [stage.prompt_tokens + stage.completion_tokens for stage in spend],
        "seconds": [stage.seconds for stage in spend],
        "usd": [stage.cost for stage in spend],
    }
    for name, values in amounts.items():
        if any(values):
            yield from _curve(f"spent/{name}", list(accumulate(values)))
    processor = [stage.cpu_seconds for stage in spend]
    yield from _curve("system/cpu_seconds", list(accumulate(processor)))
    yield from _curve("system/peak_memory_megabytes", [stage.peak_memory for stage in spend])


def _curve(name: str, values: Sequence[float]) -> Iterator[CurvePoint]:
    return ((name, float(value), step) for step, value in enumerate(values))
