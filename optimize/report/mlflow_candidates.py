"""Below the run of a compile in MLflow: one child run per candidate, and a table per side.

A child is named by what it does; its knobs are parameters and what it came to is metrics, by names
that the parent has too, so that MLflow's columns and charts put them side by side. Every call names
its run, so that compiles in several threads cannot mix.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ragwright.optimize.candidates import Candidate
from ragwright.optimize.report.descriptions import describe_candidate
from ragwright.optimize.report.mlflow_curves import mlflow_name
from ragwright.optimize.result import BASELINE, CompileResult
from ragwright.optimize.scoring.attribution import Failure
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.programs.signals import WEIGHT

PARENT = "mlflow.parentRunId"
FOLDER = "run folder"
"""The tag of a compile's run that holds the name of its folder."""
ASKED = "dev questions"
"""The tag of a child run that says how many it was asked: as a metric it would be the first axis
of MLflow's plots.
"""
CANDIDATE = "candidate"
"""The tag of a child run that holds the candidate's plain name, such as "knobs only"."""


def log_candidates(client: Any, experiment: str, parent: str, result: CompileResult) -> None:
    """Write a finished child run for everything that was judged by its answers."""
    knobs = varied_knobs(result)
    for candidate in result.candidates:
        params = {**knobs[candidate.name], "demos": candidate.demos}
        tags = {PARENT: parent, "stage": candidate.stage, CANDIDATE: candidate.name}
        tags |= {"prompts": candidate.prompts, ASKED: str(candidate.questions)}
        run = client.create_run(experiment, run_name=describe_candidate(candidate), tags=tags)
        _log_candidate(client, run.info.run_id, params, candidate_metrics(candidate, result))


def varied_knobs(result: CompileResult) -> dict[str, dict[str, Any]]:
    """The knobs of every candidate by name, without those that are the same in all of them.

    These are the axes of MLflow's charts. A weight that a setting does not name is 0.
    """
    flat = {one.name: one.setting.flat() for one in result.candidates}
    names = list(dict.fromkeys(name for knobs in flat.values() for name in knobs))
    filled = {
        one: {name: knobs.get(name, 0.0 if WEIGHT in name else "") for name in names}
        for one, knobs in flat.items()
    }
    varied = [name for name in names if len({str(knobs[name]) for knobs in filled.values()}) > 1]
    return {one: {name: knobs[name] for name in varied} for one, knobs in filled.items()}


def _log_candidate(
    client: Any, run_id: str, params: Mapping[str, Any], metrics: Mapping[str, float]
) -> None:
    from mlflow.entities import Metric, Param

    now = int(1000 * time.time())
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
        params=[Param(mlflow_name(key), str(value)) for key, value in params.items()],
    )
    client.set_terminated(run_id)


def candidate_metrics(candidate: Candidate, result: CompileResult) -> dict[str, float]:
    """What is known of a candidate, by MLflow's metric.

    A mean over a part of the dev questions is no `dev`: it is not comparable with the others.
    """
    whole = candidate.questions == len(result.splits.dev)
    found = {"dev" if whole else "dev_part": candidate.dev}
    if candidate.stage == "choice" and (done := result.test.get(candidate.name)) is not None:
        found["test"] = done.mean
    return round_figures(found | usage_metrics(candidate.usage, result))


def round_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """The digits that count: MLflow's pages show all that they are given."""
    return {name: round(value, 4) for name, value in figures.items()}


def usage_metrics(usage: Mapping[str, float], result: CompileResult) -> dict[str, float]:
    """Latency in seconds, tokens, and US dollars for 1,000 answers where prices are known."""
    if not usage:
        return {}
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    found = {"latency_s": usage["seconds"], "tokens": prompt + completion}
    section = result.recipe.lm
    if section.prompt_price is not None and section.completion_price is not None:
        each = prompt * section.prompt_price + completion * section.completion_price
        found["usd_per_1000"] = each / 1e6 * 1000
    return found


def log_tables(client: Any, run_id: str, result: CompileResult) -> None:
    """Write what every program answered to every question, one table a side."""
    import pandas as pd

    for side, evaluations in (("dev", result.dev), ("test", result.test)):
        failures = result.failures if side == "test" else {}
        named = {result.chosen: failures.get("compiled"), BASELINE: failures.get(BASELINE)}
        rows = [
            row
            for name, evaluation in evaluations.items()
            for row in _rows(name, evaluation, named.get(name) or [None] * len(evaluation.rows))
        ]
        client.log_table(run_id, pd.DataFrame(rows, dtype=object), f"tables/{side}.json")


def _rows(
    name: str, evaluation: Evaluation, failures: Sequence[Failure | None]
) -> list[dict[str, Any]]:
    """One row per question, as MLflow's table shows it."""
    return [
        {
            "program": name,
            "id": row.id,
            "question": row.question,
            "expected": " / ".join(row.expected),
            "answer": row.answer,
            "score": row.score,
            "failure": failure or "",
            "documents": ", ".join(row.documents),
            "seconds": round(row.seconds, 4),
            "tokens": row.prompt_tokens + row.completion_tokens,
            "error": row.error,
        }
        for row, failure in zip(evaluation.rows, failures, strict=True)
    ]
