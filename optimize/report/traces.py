"""MLflow traces of answers, for as long as a block lasts; compiling writes none.

A trace costs tens of milliseconds, so they are written on request only. While the block lasts, the
process's MLflow store is the given one: one block at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragwright.optimize.report.mlflow_run import experiment_id
from ragwright.retrievers.mlflow_database import mlflow_client


@contextmanager
def write_traces(tracking_uri: str, experiment: str, artifact_location: Path) -> Iterator[None]:
    """Write one trace per call of a program, with RETRIEVER spans that MLflow's judges read.

    Args:
        tracking_uri: The store, such as "sqlite:////home/me/rag/mlflow.db".
        experiment: Its name; made if it is missing.
        artifact_location: The folder for files of a new experiment.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import dspy
    import mlflow
    import mlflow.dspy
    from mlflow.entities.trace_location import MlflowExperimentLocation

    place = experiment_id(mlflow_client(tracking_uri), experiment, artifact_location)
    # Setting what was only the default would fix it for all that follows.
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.tracing.set_destination(MlflowExperimentLocation(place))
    counted = dspy.settings.track_usage
    mlflow.dspy.autolog()
    try:
        yield
        mlflow.flush_trace_async_logging()
    finally:
        mlflow.dspy.autolog(disable=True)
        dspy.configure(track_usage=counted)  # which MLflow leaves switched on
        mlflow.tracing.reset()
        mlflow.set_tracking_uri(before)
