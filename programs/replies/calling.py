"""The one place where our programs' predictors are given the adapter that reads their replies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dspy

from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.programs.replies.learned import Format


@contextmanager
def reading(format: Format | None = None) -> Iterator[None]:
    """Have every predictor that is called inside read its replies with a `ReplyAdapter`.

    An adapter that was set before, by us or by `dspy.configure(adapter=...)`, is left in place.

    Args:
        format: As `[lm] format` of a recipe; by default "auto".
    """
    if dspy.settings.adapter is not None:
        yield
        return
    with dspy.context(adapter=ReplyAdapter(format or "auto")):
        yield


def call_predictor(predict: dspy.Predict, **inputs: Any) -> dspy.Prediction:
    """Call a predictor and read its reply."""
    with reading():
        reply: dspy.Prediction = predict(**inputs)
    return reply


async def acall_predictor(predict: dspy.Predict, **inputs: Any) -> dspy.Prediction:
    """Like `call_predictor`, without blocking the event loop."""
    with reading():
        reply: dspy.Prediction = await predict.acall(**inputs)
    return reply
