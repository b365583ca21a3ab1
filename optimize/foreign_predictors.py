"""Notes which predictors a program calls that are not among its own, so that a report can warn.

No optimizer finds them, and no state keeps their prompts: they are made while the program runs, or
stand on its class.
"""

from __future__ import annotations

from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from ragwright.programs.anatomy import predictors_of
from ragwright.programs.replaying import note_foreign_predictor

_WRITTEN = "dspy.signatures.signature"
"""The module of signatures that are written as a text; others of DSPy's are those of its parts."""


class ForeignPredictors(BaseCallback):
    """Notes what predictors a program asks that are not among its own.

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
