"""What MLflow does not promise to keep, used by artifacts here alone."""

from __future__ import annotations

from typing import Any


def prompt_registry(client: Any) -> Any:
    """Return what a client keeps prompts in, by explicit address and in this thread."""
    return client._get_registry_client()
