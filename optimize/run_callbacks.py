"""What a run wants to be told of DSPy's calls, as one callback; and what it warns of by them.

DSPy finds out for every callback, at the start and at the end of each call, what kind of call it
is; that takes longer than what the callbacks of a run do.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from ragwright.optimize.spending.metered import MeteredLM
from ragwright.programs.anatomy import predictors_of
from ragwright.programs.replaying import note_foreign_predictor

_WRITTEN = "dspy.signatures.signature"
"""The module of signatures that are written as a text; others of DSPy's are those of its parts."""


class RunCallbacks(BaseCallback):
    """Tells several callbacks, in turn, of calls of modules and of what language models are asked.

    Args:
        parts: Those to tell, of nothing else. Of what one raises at, the later ones hear nothing.
    """

    def __init__(self, *parts: BaseCallback) -> None:
        self._parts = parts

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        for part in self._parts:
            part.on_module_start(call_id, instance, inputs)

    def on_module_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        for part in self._parts:
            part.on_module_end(call_id, outputs, exception)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        for part in self._parts:
            part.on_lm_start(call_id, instance, inputs)


class ForeignPredictors(BaseCallback):
    """Notes what predictors a program asks that are not among its own, so that a report can warn.

    No optimizer finds them, and no state keeps their prompts: they are made while the program runs,
    or stand on its class.

    Args:
        program: Its predictors are known, as are copies of them.
    """

    def __init__(self, program: dspy.Module) -> None:
        self._known = {predictor.stage for predictor in predictors_of(program)}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if not isinstance(instance, dspy.Predict) or instance.stage in self._known:
            return
        signature = instance.signature
        if signature.__module__ == _WRITTEN or not signature.__module__.startswith("dspy."):
            note_foreign_predictor(signature.signature)


class PastAccount(BaseCallback):
    """Counts the calls of models that are not under the run's account, by model.

    A model that a metric or a function holds by itself is not found in the program.
    """

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
