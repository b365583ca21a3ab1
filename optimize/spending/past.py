"""Counts calls of language models that went past the account of a run, so that it can warn.

A model that a metric or a function holds by itself is not found in the program.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from dspy.utils.callback import BaseCallback

from ragwright.optimize.spending.metered import MeteredLM


class PastAccount(BaseCallback):
    """Counts the calls of models that are not under an account, by model."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if not isinstance(instance, MeteredLM):
            with self._lock:
                self._calls[str(instance.model)] += 1

    @property
    def told(self) -> tuple[str, ...]:
        """What to say of them, one line a model."""
        return tuple(
            f"{count} calls of {model!r} went past the compile: a metric or a function holds that "
            "model by itself, so they are not counted, not capped, and made again on resuming. "
            "Make it an attribute of the program, or leave it to dspy.settings.lm."
            for model, count in sorted(self._calls.items())
        )
