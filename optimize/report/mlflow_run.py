"""Records a compile's result and report as one MLflow run.

Parameters, the few numbers that matter, curves, tables, data sets, report and a child run per
candidate go into an explicit run of an explicit store: neither MLflow's active run nor its global
tracking URI is touched. Knows nothing of artifacts; they join the same run by its id. No key is
ever handed in, so none can be written.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ragwright.optimize.report.descriptions import describe_verdict
from ragwright.optimize.report.mlflow_candidates import (
    FOLDER,
    log_candidates,
    log_tables,
    round_figures,
    usage_metrics,
)
from ragwright.optimize.report.mlflow_curves import curve_points, mlflow_name
from ragwright.optimize.report.mlflow_data import keep_data_sets, log_inputs
from ragwright.optimize.report.writing import write_report
from ragwright.optimize.result import CompileResult
from ragwright.retrievers.mlflow_database import mlflow_client

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as the description of a run or an experiment."""
ABOUT = """\
Compiles and studies of the recipe **{name}**. A run under *Training runs* is a compile: its page
says what was gained, its children are what competed. *Evaluation runs* compare the baseline with
what was compiled, question by question. *Datasets* hold the questions, *Prompts* the versions."""
LARGEST_BATCH = 500


def track(
    result: CompileResult,
    *,
    tracking_uri: str,
    artifact_location: str | Path,
    report: Path | None = None,
) -> str:
    """Record a compile and return the id of its run.

    Args:
        result: What was compiled.
        tracking_uri: The store, such as "sqlite:////home/me/rag/mlflow.db".
        artifact_location: The folder for files of a new experiment; a default would follow the
            process's working directory.
        report: The folder of a report that has been written already.
    """
    client = mlflow_client(tracking_uri)
    experiment = experiment_id(client, result.recipe.name, Path(artifact_location))
    seconds = sum(stage.seconds for stage in result.spend)
    run = client.create_run(
        experiment,
        start_time=int(1000 * (time.time() - seconds)),
        run_name=f"{result.gain.gain:+.3f} {result.verdict}: {Path(result.run_dir).name}",
    )
    run_id = str(run.info.run_id)
    _log_values(client, run_id, result)
    log_inputs(client, run_id, result)
    keep_data_sets(client, experiment, result)
    folder = report or write_report(result, Path(result.run_dir) / "report")
    client.log_artifacts(run_id, str(folder), "report")
    log_tables(client, run_id, result)
    log_measured(client, run_id, result)
    log_candidates(client, experiment, run_id, result)
    client.set_terminated(run_id)
    return run_id


def experiment_id(client: Any, name: str, files: Path) -> str:
    """The id of an experiment, made if it is missing, with its files in a folder of its own."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    files.mkdir(parents=True, exist_ok=True)
    location = (files.resolve() / name).as_uri()
    tags = {NOTE: ABOUT.format(name=name)}
    return str(client.create_experiment(name, artifact_location=location, tags=tags))


def _log_values(client: Any, run_id: str, result: CompileResult) -> None:
    from mlflow.entities import Metric, Param, RunTag

    params = [Param(mlflow_name(key), str(value)) for key, value in _params(result).items()]
    now = int(1000 * time.time())
    single = [Metric(key, value, now, 0) for key, value in _metrics(result).items()]
    stepped = [Metric(key, value, now, step) for key, value, step in curve_points(result)]
    tags = [RunTag(key, value) for key, value in _tags(result).items()]
    client.log_batch(run_id, params=params, tags=tags)
    metrics = [*single, *stepped]
    for start in range(0, len(metrics), LARGEST_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + LARGEST_BATCH])


def _tags(result: CompileResult) -> dict[str, str]:
    stages = ", ".join(stage.stage for stage in result.spend)
    return {
        **result.recipe.tracking.tags,
        "verdict": result.verdict,
        "chosen": result.chosen,
        "stage": "compile",
        FOLDER: Path(result.run_dir).name,
        "spent by stage": stages,
        NOTE: run_note(result),
    }


def run_note(result: CompileResult) -> str:
    """What MLflow's page of a run shows first, as Markdown: the verdict, and a line per program."""
    head = f"**{result.verdict}**, by {result.metric}: {describe_verdict(result)}"
    rows = [
        f"| {name}{' (chosen)' if name == result.chosen else ''} | {result.dev[name].mean:.3f} | "
        f"{done.mean:.3f} | {done.seconds:.3f} | {done.tokens:.0f} |"
        for name, done in result.test.items()
    ]
    table = ["| program | dev | test | seconds | tokens |", "|---|---|---|---|---|", *rows]
    foot = (
        "The whole story is the artifact `report/report.html`. The runs below are what competed; "
        "`Evaluation runs` has baseline and chosen program, question by question. "
        "`search/*` goes by trial, `progress/*` by candidate, `spent/*` by stage."
    )
    return "\n\n".join([head, "\n".join(table), foot])


def _params(result: CompileResult) -> dict[str, Any]:
    """The recipe's settings and what was chosen, one level deep; knobs are called as a child's."""
    recipe, inputs = result.recipe, result.inputs
    sections = {
        "compile": recipe.compile.model_dump(),
        "program": recipe.program.model_dump(),
        "data": recipe.data.model_dump(),
        "baseline": result.baseline_setting.flat(),
    }
    named = {
        f"{section}.{key}": value
        for section, values in sections.items()
        for key, value in values.items()
        if value not in ("", None, {}, ())
    }
    return {
        **result.setting.flat(),
        **named,
        "lm": inputs.lm,
        "index.fingerprint": inputs.index,
        "data.fingerprint": inputs.data,
        "labels": inputs.labels,
    }


def _metrics(result: CompileResult) -> dict[str, float]:
    """The numbers that matter; all others are in the tables and in `report.json`."""
    gain, compiled = result.gain, result.compiled
    return round_figures({
        "test": compiled.mean,
        "test_baseline": result.baseline.mean,
        "dev": result.dev[result.chosen].mean,
        "gain": gain.gain,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "errors": float(sum(compiled.errors.values())),
        **usage_metrics(compiled.usage, result),
    })  # fmt: skip


def log_measured(client: Any, run_id: str, result: CompileResult) -> None:
    """Write ways of retrieving, parts of the metric, comparisons and spend as MLflow's tables."""
    import pandas as pd

    tables: dict[str, list[dict[str, Any]]] = {
        "retrieval": [{"way": row.name, "n": row.n, **row.means} for row in result.retrieval],
        "comparisons": [
            {"comparison": name, **asdict(one)}
            for name, one in {**result.ablation, **result.comparisons}.items()
        ],
        "parts": [
            {"part": part.name, "baseline": part.baseline, "compiled": part.compiled,
             **asdict(part.gain)}
            for part in result.parts
        ],
        "spend": [asdict(stage) for stage in result.spend],
    }  # fmt: skip
    for name, rows in tables.items():
        if rows:
            client.log_table(run_id, pd.DataFrame(rows, dtype=object), f"tables/{name}.json")
