"""What a compile spends: LM calls, tokens and seconds, counted stage by stage across threads.

Comes in: DSPy's own callbacks and usage reports. Goes out: one frozen `Spend` per stage. Knows
nothing of what the stages do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import dspy
from dspy.utils.callback import BaseCallback
from dspy.utils.usage_tracker import UsageTracker


@dataclass(frozen=True, slots=True)
class Spend:
    """What one stage spent.

    Attributes:
        stage: Its name.
        calls: LM calls, those answered from DSPy's cache included.
        prompt_tokens: As the provider counts them; cached answers cost none.
        completion_tokens: As above.
        seconds: Wall clock.
    """

    stage: str
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class _SharedTracker(UsageTracker):
    """Collects usage from all threads: DSPy copies a tracker for each thread, this one stays one.

    What a tracker inside it has seen (one per question) is added to it when that one ends.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class _CallCounter(BaseCallback):
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls = 0

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        with self._lock:
            self.calls += 1


class Meter:
    """Collects the spend of the stages that run inside `stage(...)`, one after the other."""

    def __init__(self) -> None:
        self._stages: list[Spend] = []

    @property
    def stages(self) -> tuple[Spend, ...]:
        """One entry per finished stage, in order."""
        return tuple(self._stages)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count everything that runs inside, in this thread and in those that DSPy starts."""
        tracker, counter, start = _SharedTracker(), _CallCounter(), time.perf_counter()
        callbacks = [*dspy.settings.get("callbacks", []), counter]
        with dspy.context(usage_tracker=tracker, callbacks=callbacks):
            yield
        seconds = time.perf_counter() - start
        prompt, completion = count_tokens(tracker)
        self._stages.append(Spend(name, counter.calls, prompt, completion, seconds))


def count_tokens(usage: UsageTracker) -> tuple[int, int]:
    """Return prompt and completion tokens, summed over all models."""
    totals = usage.get_total_tokens().values()
    prompt = sum(int(entry.get("prompt_tokens") or 0) for entry in totals)
    completion = sum(int(entry.get("completion_tokens") or 0) for entry in totals)
    return prompt, completion
