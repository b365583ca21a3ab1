"""Asking for the answer: the first language model, then the second, then none.

Comes in: a predictor and its inputs. Goes out: its reply, or None when the passages alone must do.
Knows nothing of retrieval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import dspy

from ragwright.programs.fallback import Guard, note
from ragwright.programs.replies.calling import aasked, asked
from ragwright.programs.streaming import current_sink, streamed
from ragwright.retrievers.errors import StageError

Inputs = Mapping[str, Any]


def ask(guard: Guard, predict: dspy.Predict, inputs: Inputs) -> dspy.Prediction | None:
    """Return the reply of the first language model that gives one.

    Raises:
        StageError: None does, and passages without an answer are not allowed.
    """
    failed: StageError | None = None
    for name, more in _attempts(guard, predict, inputs):
        _note(failed, name)
        try:
            return guard.call("respond", name, partial(asked, predict, **more))
        except StageError as error:
            failed = error
    _do_without(guard, failed)
    return None


async def aask(guard: Guard, predict: dspy.Predict, inputs: Inputs) -> dspy.Prediction | None:
    """Like `ask`, without blocking the event loop; tokens go to whoever streams."""
    failed: StageError | None = None
    sink = current_sink()
    for name, more in _attempts(guard, predict, inputs):
        _note(failed, name)
        try:
            if sink is None:
                return await guard.acall("respond", name, partial(aasked, predict, **more))
            return await guard.acall("respond", name, partial(streamed, predict, more, sink))
        except StageError as error:
            failed = error
    _do_without(guard, failed)
    return None


def _attempts(guard: Guard, predict: dspy.Predict, inputs: Inputs) -> Iterator[tuple[str, Inputs]]:
    """Yield each language model's name, with the inputs that make it answer."""
    first = predict.lm or dspy.settings.lm
    yield _name(first), inputs
    if guard.second_lm is not None:
        yield _name(guard.second_lm), {**inputs, "lm": guard.second_lm}


def _name(lm: Any) -> str:
    address = getattr(lm, "kwargs", {}).get("api_base") or ""
    return f"{getattr(lm, 'model', 'no language model')} {address}".strip()


def _note(failed: StageError | None, used: str) -> None:
    if failed is not None:
        note("respond", failed, used=used)


def _do_without(guard: Guard, failed: StageError | None) -> None:
    if failed is None:
        return
    if guard.settings is None or not guard.settings.passages_only:
        raise failed
    note("respond", failed, used="the passages alone")
