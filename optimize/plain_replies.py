"""Asks a model that keeps to no form for the answer alone, from the baseline of a compile on."""

from __future__ import annotations

from typing import Any

import dspy

from ragwright.optimize.scoring.evaluate import Evaluation
from ragwright.programs.lm import can_write
from ragwright.programs.replies.adapter import ReplyAdapter


def ask_plainly(lm: Any, done: Evaluation) -> str:
    """Where most replies keep to no form, ask for the answer alone from now on, and say so.

    Decided once, by what the whole baseline came to, so that a resumed run asks alike.

    Args:
        lm: What answered.
        done: The baseline.

    Returns:
        A sentence; nothing where replies are asked for as before.
    """
    adapter = dspy.settings.adapter
    auto = isinstance(adapter, ReplyAdapter) and adapter.wanted == "auto"
    missed = len(done.unreadable) + done.reads.get("plain", 0)
    if not auto or not can_write(lm) or 2 * missed <= len(done.rows):
        return ""
    adapter.wanted = "plain"
    return (
        f"{missed} of {len(done.rows)} replies did not keep to DSPy's format: from then on the "
        'language model was asked for the answer alone ([lm] format = "plain").'
    )
