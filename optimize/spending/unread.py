"""Finds replies that no adapter of DSPy's could read, and marks them in the ledger of LM calls.

Such a reply was paid for, and the question that wanted it counts as failed. What follows from that
depends on who meets it again:

- The same run, resumed: it is met again. The failure is part of what the run measured; asked anew,
  the model might answer otherwise, and the run would not end as it would have without the crash.
- The same run, if that very failure ended it (no query for the pool, every question failed): it is
  asked again. There is no undisturbed run to agree with, and `--resume` would end the same way.
- Another run that shares the ledger: it is asked again. One broken reply would else be the answer
  for good, since a question is told apart by nothing but what is asked.

Comes in: what DSPy tells of its calls. Knows nothing of runs or stages.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import AdapterParseError

from ragwright.optimize.spending.ledger import CallLedger


@dataclass
class _Asked:
    """The keys of what a predictor asked for, and whether nothing came of it."""

    keys: list[str] = field(default_factory=list)
    unread: bool = False


_ASKED: ContextVar[_Asked | None] = ContextVar("asked", default=None)


def note_asked(key: str) -> None:
    """Tell that a predictor which runs in this context wants the reply of this key."""
    asked = _ASKED.get()
    if asked is not None:
        asked.keys.append(key)


def note_unread() -> None:
    """Tell that a predictor which runs in this context goes on without what it asked for."""
    asked = _ASKED.get()
    if asked is not None:
        asked.unread = True


class UnreadMarks(BaseCallback):
    """Marks all replies to a predictor that could make nothing of the last of them.

    A predictor asks again in another form (JSON) before it gives up: if that reply can be read,
    none is marked, and a resumed run takes both from the ledger.

    Args:
        ledger: Where the replies are.
    """

    def __init__(self, ledger: CallLedger) -> None:
        self._ledger = ledger

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if isinstance(instance, dspy.Predict):
            _ASKED.set(_Asked())

    def on_module_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        asked = _ASKED.get()
        _ASKED.set(None)
        unread = isinstance(exception, AdapterParseError)
        if asked and asked.keys and (unread or asked.unread):
            self._ledger.mark_unread(asked.keys)
