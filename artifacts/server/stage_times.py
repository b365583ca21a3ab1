"""When retrieval and the language model of one answer began and ended.

DSPy tells callbacks of its context of every module, adapter and model, and binds all arguments for
each: of an answer of ours ten times, which took a fifth of the time of Python's thread. The parts
of a program of ours are known, so that those two kinds can be watched alone.
"""

from __future__ import annotations

import time
from typing import Any, Self

import dspy
from dspy.utils.callback import BaseCallback

from ragwright.programs.anatomy import predictors_of, searchers_of
from ragwright.programs.lm import given_lm_of
from ragwright.programs.own import is_ours
from ragwright.retrievers.result import RetrievalResult

_TIMES = "ragwright_stage_times"


class StageTimes(BaseCallback):
    """Notes when retrieval and the language model begin and end."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, float, float]] = []
        self._begun: dict[str, float] = {}

    def settings(self, program: dspy.Module) -> dict[str, Any]:
        """DSPy's settings within which a program is called."""
        watched = any(isinstance(one, _Watch) for one in program.callbacks)
        return {_TIMES: self} if watched else {"callbacks": [self]}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begun[call_id] = time.time()

    def on_module_end(
        self, call_id: str, outputs: Any | None, exception: Exception | None = None
    ) -> None:
        begun = self._begun.pop(call_id, None)
        if isinstance(outputs, RetrievalResult) and begun is not None:
            self.spans.append(("retrieve", begun, time.time()))

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begun[call_id] = time.time()

    def on_lm_end(
        self, call_id: str, outputs: Any | None, exception: Exception | None = None
    ) -> None:
        begun = self._begun.pop(call_id, None)
        if begun is not None:
            self.spans.append(("generate", begun, time.time()))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """DSPy may copy its context; all threads note their times here."""
        return self


class _Watch(BaseCallback):
    """Hands what a part tells on to the times of the answer that is being made."""

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if (times := _current()) is not None:
            times.on_module_start(call_id, instance, inputs)

    def on_module_end(
        self, call_id: str, outputs: Any | None, exception: Exception | None = None
    ) -> None:
        if (times := _current()) is not None:
            times.on_module_end(call_id, outputs, exception)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if (times := _current()) is not None:
            times.on_lm_start(call_id, instance, inputs)

    def on_lm_end(
        self, call_id: str, outputs: Any | None, exception: Exception | None = None
    ) -> None:
        if (times := _current()) is not None:
            times.on_lm_end(call_id, outputs, exception)


def _current() -> StageTimes | None:
    found: StageTimes | None = dspy.settings.get(_TIMES)
    return found


def watch_stages(program: dspy.Module) -> None:
    """Have the parts of a program of ours tell their times; any other's are told by DSPy.

    A program of one's own may make parts, or take a model from the context, while it runs.
    """
    models = [predict.lm or given_lm_of(program) for predict in predictors_of(program)]
    if not is_ours(program) or not all(models):
        return
    second = program.guard.second_lm
    parts = [program, *searchers_of(program).values(), *models, *([second] if second else [])]
    watch = _Watch()
    for part in {id(part): part for part in parts}.values():
        part.callbacks = [*part.callbacks, watch]
