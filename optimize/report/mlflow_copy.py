"""Runs copied from one MLflow store to another: from a recipe's own file to a team's server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from ragwright.optimize.report.mlflow_answers import COMPILE
from ragwright.optimize.report.mlflow_candidates import FOLDER, PARENT
from ragwright.retrievers.errors import InputError, RecordFault
from ragwright.retrievers.mlflow_database import mlflow_client

SOURCE = "ragwright.copied_from"
"""The tag of a copy: the id of the run that it was copied from."""
LARGEST_BATCH = 500
TRACE_TAGS = ("mlflow.traceName", "question", "side")

_SCHEMES = ("", "file", "http", "https", "databricks", "uc",
            "sqlite", "postgresql", "mysql", "mssql")  # fmt: skip


def check_target(uri: str) -> None:
    """Make sure that MLflow knows what kind of store an address means; nobody is asked.

    Raises:
        InputError: It does not, and none of its plugins does.
    """
    scheme = urlsplit(uri).scheme.partition("+")[0]
    plugins = {one.name for one in entry_points(group="mlflow.tracking_store")}
    if scheme not in {*_SCHEMES, *plugins}:
        near = get_close_matches(scheme, _SCHEMES, n=1)
        meant = f" Is {near[0]!r} meant?" if near else ""
        raise InputError(
            f"MLflow knows no store {scheme!r}, as in {uri!r}.{meant}",
            hint="Name a server (https://...), or a file: sqlite:///mlflow.db.",
        )


@dataclass(frozen=True)
class RunCopy:
    """Where a run went.

    Attributes:
        run_id: Its id there.
        experiment: The experiment's name.
        copied: How many runs were copied now, its candidates included.
    """

    run_id: str
    experiment: str
    copied: int


def copy_run(run: str, *, source: str, target: str, experiment: str = "") -> RunCopy:
    """Copy a run and the runs below it; those that were copied before are left as they are.

    Args:
        run: The run's id, or the folder of a compile's run.
        source: The MLflow store that has it.
        target: The MLflow store, or server, to copy to.
        experiment: The experiment there; by default of the same name.

    Raises:
        InputError: The source has no such run, or the target is no store.
        RecordFault: The target cannot be reached, or refuses.
    """
    check_target(target)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    here = MlflowClient(tracking_uri=source)
    parent = _found(here, run)
    name = experiment or here.get_experiment(parent.info.experiment_id).name
    try:
        return _copied(here, mlflow_client(target), parent, name)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise RecordFault(
            f"The run could not be copied to {target!r}: {first}",
            hint="Nothing is lost: try again with `rag mlflow push`.",
        ) from error


def _copied(here: Any, there: Any, parent: Any, name: str) -> RunCopy:
    found = there.get_experiment_by_name(name)
    home = found.experiment_id if found else there.create_experiment(name)
    id, place = parent.info.run_id, [parent.info.experiment_id]
    children = [
        run
        for tag in (PARENT, COMPILE)
        for run in here.search_runs(place, f"tags.`{tag}` = '{id}'", max_results=5000)
    ]
    ids: dict[str, str] = {}
    copied = 0
    for run in (parent, *reversed(children)):
        known = there.search_runs([home], f"tags.`{SOURCE}` = '{run.info.run_id}'", max_results=1)
        if known:
            ids[run.info.run_id] = known[0].info.run_id
            continue
        ids[run.info.run_id] = _copy(here, there, run, home, ids)
        copied += 1
    return RunCopy(ids[parent.info.run_id], name, copied)


def _found(client: Any, run: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run)
    except MlflowException:
        pass
    named = Path(run).name
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`{FOLDER}` = '{named}'", max_results=1)
    if not found:
        raise InputError(
            f"There is no run {run!r}.", hint="`rag mlflow` shows every run with its id."
        )
    return found[0]


def _copy(here: Any, there: Any, run: Any, experiment: str, ids: dict[str, str]) -> str:
    """Write one run; the mark that it is a copy comes last, so that a half copy is made again."""
    from mlflow.entities import Metric, Param, RunTag

    tags = {key: ids.get(value, value) for key, value in run.data.tags.items() if key != SOURCE}
    made = there.create_run(
        experiment, start_time=run.info.start_time, run_name=run.info.run_name, tags=tags
    )
    id = str(made.info.run_id)
    history = [
        Metric(key, value.value, value.timestamp, value.step)
        for key in run.data.metrics
        for value in here.get_metric_history(run.info.run_id, key)
    ]
    params = [Param(key, value) for key, value in run.data.params.items()]
    for part in _parts(history):
        there.log_batch(id, metrics=part)
    for some in _parts(params, 100):
        there.log_batch(id, params=some)
    if run.inputs.dataset_inputs:
        there.log_inputs(id, run.inputs.dataset_inputs)
    if here.list_artifacts(run.info.run_id):
        with TemporaryDirectory() as scratch:
            here.download_artifacts(run.info.run_id, "", scratch)
            there.log_artifacts(id, scratch)
    _copy_traces(here, there, run, (experiment, id))
    there.log_batch(id, tags=[RunTag(SOURCE, run.info.run_id)])
    there.set_terminated(id, run.info.status, run.info.end_time)
    return id


def _copy_traces(here: Any, there: Any, run: Any, place: tuple[str, str]) -> None:
    """Write the traces of a run under the same ids; a half copy that was begun is gone on with."""
    from mlflow.entities import TraceLocation
    from mlflow.tracing.client import TracingClient

    experiment, run_id = place
    theirs = TracingClient(there.tracking_uri)
    wanted = f"attributes.run_id = '{run.info.run_id}'"
    for trace in here.search_traces(
        locations=[run.info.experiment_id], filter_string=wanted, max_results=LARGEST_BATCH
    ):
        known = trace.info.trace_metadata
        kept = {key: known[key] for key in ("mlflow.trace.tokenUsage",) if key in known}
        info = replace(
            trace.info,
            trace_location=TraceLocation.from_experiment_id(experiment),
            trace_metadata={**kept, "mlflow.sourceRun": run_id},
            tags={key: value for key, value in trace.info.tags.items() if key in TRACE_TAGS},
        )
        theirs.start_trace(info)
        theirs.log_spans(experiment, trace.data.spans)


def _parts(values: Sequence[Any], size: int = LARGEST_BATCH) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
