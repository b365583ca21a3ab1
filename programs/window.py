"""Fits a context into the language model's window, with everything around it.

The window must hold the rendered instructions, demonstrations (they grow when a program is
compiled), question, passages, and the answer. Tokens are counted on the messages that DSPy's
adapter renders, with the model's own tiktoken encoding where its name says which; for any other
model cl100k_base counts, and a sixth is added, since other vocabularies split more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import dspy
import tiktoken.model

from ragwright.programs.context import Context, number_passages, truncate_passage
from ragwright.programs.lm import ANSWER_TOKENS, unwrap_lm
from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.programs.replies.calling import reading
from ragwright.programs.windows import learned_window, served_window
from ragwright.retrievers.chunking import ENCODING, count_tokens
from ragwright.retrievers.errors import InputError

MESSAGE_TOKENS = 8
"""What a chat format adds to a message: its role and the marks around it."""

_UNKNOWN_VOCABULARY = 7 / 6


def model_window(lm: Any) -> int | None:
    """Return how many tokens a language model can read and write together, if it is known.

    A refusal has taught it, its server says it, or DSPy's copy of LiteLLM's table has it; the
    offline model has no window.
    """
    lm = unwrap_lm(lm)
    if not isinstance(lm, dspy.LM) or not isinstance(lm.engine, str):
        return learned_window(lm)
    return learned_window(lm) or served_window(lm) or _listed_window(lm.model)


@lru_cache(maxsize=64)
def _listed_window(model: str) -> int | None:
    from dspy.clients.model_metadata import model_info

    provider, _, name = model.partition("/")
    listed = model_info(provider, name).get("max_input_tokens")
    return int(listed) if listed else None


def fit_context(
    context: Context, predict: dspy.Predict, inputs: Mapping[str, Any], *, window: int
) -> Context:
    """Leave out the passages ranked last until the whole prompt and the answer fit.

    Args:
        context: What was packed.
        predict: What will read it: its signature and demonstrations count.
        inputs: Its inputs but for `context`.
        window: In tokens of the model.

    Raises:
        InputError: Not even the prompt without passages fits.
    """
    lm = predict.lm or dspy.settings.lm
    room = window - answer_tokens(lm)
    if prompt_tokens(predict, {"context": [], **inputs}, lm=lm) > room:
        raise InputError(
            f"The prompt without any passage does not leave {answer_tokens(lm)} tokens for the "
            f"answer in a window of {window} tokens.",
            hint="Ask a shorter question, use fewer demonstrations, or another model.",
        )
    while context.passages:
        if prompt_tokens(predict, {"context": list(context.numbered), **inputs}, lm=lm) <= room:
            return context
        context = _without_last(context)
    return context


def prompt_tokens(predict: dspy.Predict, inputs: Mapping[str, Any], *, lm: Any) -> int:
    """Count the tokens of the messages that a predictor would send."""
    messages = render_messages(predict, inputs)
    name = str(getattr(lm, "model", ""))
    return sum(
        MESSAGE_TOKENS + count_model_tokens(str(message["content"]), name) for message in messages
    )


def render_messages(predict: dspy.Predict, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages that a predictor would send."""
    signature, demos = predict.signature, list(predict.demos)
    with reading():
        adapter = dspy.settings.adapter
        if isinstance(adapter, ReplyAdapter):
            lm = predict.lm or dspy.settings.lm
            return adapter.messages(lm, signature, demos, dict(inputs))
        sent: list[dict[str, Any]] = adapter.format(signature, demos, dict(inputs))
        return sent


def count_model_tokens(text: str, model: str) -> int:
    """Count a text's tokens as a model does, or more."""
    encoding = _encoding(model)
    if encoding is not None:
        return count_tokens(text, encoding)
    return math.ceil(count_tokens(text, ENCODING) * _UNKNOWN_VOCABULARY)


def answer_tokens(lm: Any) -> int:
    """Return what is kept free for the answer."""
    settings = getattr(lm, "kwargs", {})
    most = settings.get("max_tokens") or settings.get("max_completion_tokens")
    return int(most or ANSWER_TOKENS)


def _without_last(context: Context) -> Context:
    """Drop the passage with the lowest score; halve it if it is the only one."""
    if len(context.passages) == 1:
        passage = context.passages[0]
        half = truncate_passage(passage, count_tokens(passage) // 2)
        kept = [half] if half else []
        cut = context.cut if half else (*context.cut, passage.id)
        return replace(number_passages(kept), cut=cut, truncated=bool(half))
    worst = min(context.passages, key=lambda passage: passage.score)
    kept = [passage for passage in context.passages if passage is not worst]
    return replace(number_passages(kept), cut=(*context.cut, worst.id))


@lru_cache(maxsize=64)
def _encoding(model: str) -> str | None:
    try:
        return tiktoken.model.encoding_name_for_model(model.rpartition("/")[2])
    except KeyError:
        return None
