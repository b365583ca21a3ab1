"""A compile's result and report in, one MLflow run out.

Parameters, metrics, the three data sets, spend, report and a child run per candidate go into an
explicit run of an explicit store: neither MLflow's active run nor its global tracking URI is
touched. Knows nothing of artifacts; they join the same run by its id. No key is ever handed in, so
none can be written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragwright.optimize.questions.test_looks import fingerprint
from ragwright.optimize.report.mlflow_candidates import log_candidates, log_tables
from ragwright.optimize.report.writing import write_report
from ragwright.optimize.result import CompileResult

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as the run's description."""


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
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri)
    experiment = experiment_id(client, result.recipe.name, Path(artifact_location))
    seconds = sum(stage.seconds for stage in result.spend)
    run = client.create_run(
        experiment,
        start_time=int(1000 * (time.time() - seconds)),
        run_name=f"compile {Path(result.run_dir).name}",
    )
    run_id = str(run.info.run_id)
    _log_values(client, run_id, result)
    _log_data(client, run_id, result)
    folder = report or write_report(result, Path(result.run_dir) / "report")
    client.log_artifacts(run_id, str(folder), "report")
    log_tables(client, run_id, result)
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
    return str(client.create_experiment(name, artifact_location=location))


def _log_values(client: Any, run_id: str, result: CompileResult) -> None:
    from mlflow.entities import Metric, Param, RunTag

    params = [Param(key, str(value)) for key, value in _params(result).items()]
    now = int(1000 * time.time())
    metrics = [Metric(key, value, now, 0) for key, value in _metrics(result).items()]
    facts = {"verdict": result.verdict, "chosen": result.chosen, NOTE: _note(result)}
    tags = [RunTag(key, value) for key, value in facts.items()]
    client.log_batch(run_id, metrics=metrics, params=params, tags=tags)


def _note(result: CompileResult) -> str:
    """What MLflow's page shows first, as Markdown."""
    gain = result.gain
    return (
        f"**{result.verdict}**: {result.recipe.compile.metric} {result.baseline.mean:.3f} -> "
        f"{result.compiled.mean:.3f} ({result.chosen}) on {gain.n} test questions, gain "
        f"{gain.gain:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], {gain.resampled} resampled, "
        f"better on {gain.wins} questions, worse on {gain.losses}. {result.why} "
        "The whole story: artifact `report/report.html`."
    )


def _params(result: CompileResult) -> dict[str, Any]:
    """The recipe's settings and what was chosen, one level deep."""
    recipe, inputs = result.recipe, result.inputs
    sections = {
        "compile": recipe.compile.model_dump(),
        "program": recipe.program.model_dump(),
        "data": recipe.data.model_dump(),
        "baseline": result.baseline_setting.flat(),
        "knobs": result.setting.flat(),
    }
    named = {
        f"{section}.{key}": value
        for section, values in sections.items()
        for key, value in values.items()
    }
    return {
        **named,
        "lm": inputs.lm,
        "index.fingerprint": inputs.index,
        "data.fingerprint": inputs.data,
        "labels": inputs.labels,
    }


def _metrics(result: CompileResult) -> dict[str, float]:
    """Scores of every variant, the gain, retrieval and spend; MLflow allows `/` in names."""
    named: dict[str, float] = {}
    for side, evaluations in (("dev", result.dev), ("test", result.test)):
        compiled = {"compiled": evaluations[result.chosen]}
        for name, evaluation in {**evaluations, **compiled}.items():
            key = f"{side}/{name.replace(' ', '_')}"
            named[key] = evaluation.mean
            if side == "test":
                interval = evaluation.interval(seed=result.recipe.compile.seed)
                named |= {f"{key}_low": interval.low, f"{key}_high": interval.high}
                named[f"{key}_errors"] = float(sum(evaluation.errors.values()))
                named[f"{key}_seconds"] = evaluation.seconds
    gain = result.gain
    named |= {"gain": gain.gain, "gain_low": gain.low, "gain_high": gain.high, "gain_p": gain.p}
    named |= {"gain_detectable": gain.detectable, "looks": float(result.inputs.looks)}
    for name, one in result.comparisons.items():
        key = f"comparison/{name.replace(' - ', '_minus_').replace(' ', '_')}"
        named |= {key: one.gain, f"{key}_low": one.low, f"{key}_high": one.high}
        named |= {f"{key}_wins": float(one.wins), f"{key}_losses": float(one.losses)}
    named |= {"gain_wins": float(gain.wins), "gain_losses": float(gain.losses)}
    for part in result.parts:
        scores = {"baseline": part.baseline, "compiled": part.compiled, "gain": part.gain.gain}
        named |= {f"parts/{part.name}/{key}": value for key, value in scores.items()}
    for row in result.retrieval:
        way = row.name.replace(" + ", "_").replace(" ", "_")
        named |= {f"retrieval/{way}/{key.replace('@', '_')}": v for key, v in row.means.items()}
    return named | _spend(result)


def _spend(result: CompileResult) -> dict[str, float]:
    return {
        f"spend/{stage.stage}/{key}": float(getattr(stage, key))
        for stage in result.spend
        for key in ("calls", "prompt_tokens", "completion_tokens", "seconds")
    }


def _log_data(client: Any, run_id: str, result: CompileResult) -> None:
    from mlflow.entities import DatasetInput, InputTag

    inputs = [
        DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", data.name)])
        for data in _data_sets(result)
    ]
    client.log_inputs(run_id, inputs)


def _data_sets(result: CompileResult) -> Iterator[Any]:
    import mlflow.data
    import pandas as pd
    from mlflow.data.code_dataset_source import CodeDatasetSource

    splits = result.splits
    path = result.recipe.data.trainset or "given in Python"
    source = CodeDatasetSource({"trainset": path, "fingerprint": result.inputs.data})
    for name in ("train", "dev", "test"):
        rows = [
            {
                "id": question.id,
                "question": question.question,
                "answer": question.answers[0],
                "group": question.group,
            }
            for question in getattr(splits, name)
        ]
        data = pd.DataFrame(rows)
        digest = fingerprint(getattr(splits, name))[:8]
        yield mlflow.data.from_pandas(data, source, targets="answer", name=name, digest=digest)
