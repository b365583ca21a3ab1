"""Asks the language models for an answer: the first, then the second; None if both fail.

Comes in: a predictor and its inputs. Goes out: its reply, or None when the passages alone must do.
Knows nothing of retrieval.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ragwright.programs.causes import cause_of, is_over_window
from ragwright.programs.fallback import FallbackGuard, note_degradation
from ragwright.programs.replies.calling import acall_predictor, call_predictor
from ragwright.programs.streaming import Sink, current_sink, stream_predictor
from ragwright.retrievers.errors import InputError, StageError

Inputs = Mapping[str, Any]
Refit = Callable[[LMError], Inputs]


def ask_with_fallback(
    guard: FallbackGuard, predict: dspy.Predict, inputs: Inputs, refit: Refit | None = None
) -> dspy.Prediction | None:
    """Return the reply of the first language model that gives one.

    Args:
        guard: Its limits hold.
        predict: What is asked.
        inputs: What it is asked with.
        refit: Makes the inputs shorter where the prompt does not fit the model's window; once.

    Raises:
        InputError: The prompt does not fit even then.
        StageError: None does, and passages without an answer are not allowed.
    """
    failed: StageError | None = None
    for name, more in _attempts(guard, predict, inputs):
        _note(failed, name)
        try:
            return guard.call("respond", name, partial(_fitting, predict, more, refit))
        except StageError as error:
            failed = error
    _do_without(guard, failed)
    return None


async def aask_with_fallback(
    guard: FallbackGuard, predict: dspy.Predict, inputs: Inputs, refit: Refit | None = None
) -> dspy.Prediction | None:
    """Like `ask_with_fallback`, without blocking the event loop; tokens go to whoever streams."""
    failed: StageError | None = None
    sink = current_sink()
    for name, more in _attempts(guard, predict, inputs):
        _note(failed, name)
        try:
            call = partial(_aonce, predict, sink)
            return await guard.acall("respond", name, partial(_afitting, call, more, refit))
        except StageError as error:
            failed = error
    _do_without(guard, failed)
    return None


async def _aonce(predict: dspy.Predict, sink: Sink | None, inputs: Inputs) -> dspy.Prediction:
    if sink is None:
        return await acall_predictor(predict, **inputs)
    return await stream_predictor(predict, inputs, sink)


def _fitting(predict: dspy.Predict, inputs: Inputs, refit: Refit | None) -> dspy.Prediction:
    try:
        return call_predictor(predict, **inputs)
    except LMError as error:
        inputs = _shorter(error, inputs, refit)
    try:
        return call_predictor(predict, **inputs)
    except LMError as error:
        raise _unfit(error) from error


async def _afitting(
    call: Callable[[Inputs], Awaitable[dspy.Prediction]], inputs: Inputs, refit: Refit | None
) -> dspy.Prediction:
    try:
        return await call(inputs)
    except LMError as error:
        inputs = await asyncio.to_thread(_shorter, error, inputs, refit)
    try:
        return await call(inputs)
    except LMError as error:
        raise _unfit(error) from error


def _shorter(error: LMError, inputs: Inputs, refit: Refit | None) -> Inputs:
    if refit is None or not is_over_window(error):
        raise error
    return {**inputs, **refit(error)}


def _unfit(error: LMError) -> LMError | InputError:
    if not is_over_window(error):
        return error
    cause = cause_of(error)
    return InputError(cause.what, hint=cause.hint)


def _attempts(
    guard: FallbackGuard, predict: dspy.Predict, inputs: Inputs
) -> Iterator[tuple[str, Inputs]]:
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
        note_degradation("respond", failed, used=used)


def _do_without(guard: FallbackGuard, failed: StageError | None) -> None:
    if failed is None:
        return
    if guard.settings is None or not guard.settings.passages_only:
        raise failed
    note_degradation("respond", failed, used="the passages alone")
