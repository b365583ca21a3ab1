"""What a run wants to be told of DSPy's calls, as one callback.

DSPy finds out for every callback, at the start and at the end of each call, what kind of call it
is; that takes longer than what the callbacks of a run do.
"""

from __future__ import annotations

from typing import Any

from dspy.utils.callback import BaseCallback


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
