"""Keeps DSPy from holding on to every call, in processes that answer for weeks.

One place for every door behind which a program answers for long: the server and MLflow's model.
Knows nothing of what is asked in the block.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import dspy


def keep_no_history(**more: Any) -> AbstractContextManager[None]:
    """Keep DSPy from holding on to every call: its history and trace are lists of the process.

    Args:
        more: DSPy's other settings for the block, such as `callbacks`.
    """
    context: AbstractContextManager[None] = dspy.context(
        disable_history=True, max_trace_size=0, **more
    )
    return context
