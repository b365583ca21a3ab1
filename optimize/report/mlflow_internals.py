"""What MLflow does not promise to keep, used here alone."""

from __future__ import annotations

from typing import Any


def data_set_entity(data: Any) -> Any:
    """Return what `log_inputs` of a client takes for a data set of `mlflow.data`."""
    return data._to_mlflow_entity()
