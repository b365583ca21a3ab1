"""What MLflow does not promise to keep, used by artifacts here alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def prompt_registry(client: Any) -> Any:
    """Return what a client keeps prompts in, by explicit address and in this thread."""
    return client._get_registry_client()


@contextmanager
def requirements_known() -> Iterator[None]:
    """Save a model whose requirements name installed releases without MLflow looking for modules.

    MLflow compares each requirement with what is installed, and first lists which module belongs
    to which package: a look at every file of the environment, a second and a half. It needs that
    list for packages whose metadata is missing, and these have theirs.
    """
    from mlflow.utils import requirements_utils

    before = requirements_utils._MODULES_TO_PACKAGES
    requirements_utils._MODULES_TO_PACKAGES = {} if before is None else before
    try:
        yield
    finally:
        requirements_utils._MODULES_TO_PACKAGES = before
