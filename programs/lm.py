"""The one place that turns a name into a `dspy.LM`.

Comes in: "extractive" or a LiteLLM model string ("openai/gpt-4o-mini", "ollama_chat/llama3.2").
Goes out: a language model, its identity for manifests, and whether it can write. Knows no API
keys: providers read theirs from the environment.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import dspy
from dspy.utils.callback import BaseCallback

from ragwright.programs.dspy_internals import is_openai_reasoner, keep_bars_apart
from ragwright.programs.extractive import AsyncExtractiveEngine, ExtractiveEngine
from ragwright.programs.reply_limits import with_limits
from ragwright.retrievers.errors import ModelError

log = logging.getLogger(__name__)

EXTRACTIVE = "extractive"
_HINT = f"Use {EXTRACTIVE!r}, or provider/model, e.g. openai/gpt-4o-mini or ollama_chat/llama3.2."
ANSWER_TOKENS = 1000
"""`max_tokens` of a recipe's language model where the recipe does not say."""

NO_KEY = "none"
"""What a client sends to a server that asks for no key; the clients refuse to send nothing."""

_KEYS = {"openai": "OPENAI_API_KEY", "hosted_vllm": "HOSTED_VLLM_API_KEY",
         "lm_studio": "LM_STUDIO_API_KEY", "litellm_proxy": "LITELLM_PROXY_API_KEY"}  # fmt: skip
_ADDRESSES = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_IDENTIFYING = (
    "temperature", "max_tokens", "max_completion_tokens", "top_p", "seed", "stop",
    "reasoning_effort",
)  # fmt: skip


def build_lm(name: str, *, embedder: str | None = None, **options: Any) -> dspy.LM:
    """Build a language model.

    Args:
        name: "extractive" for the offline model, otherwise a LiteLLM model string.
        embedder: Changes nothing any more: the offline model reads with its own. Still taken, so
            that calls written for 0.1 work.
        options: Handed to `dspy.LM`: temperature, max_tokens, api_base, cache, ... The offline
            model heeds none of them; it is never cached, since answering is faster. A server at
            `api_base` needs no key, and is asked anew unless `cache=True`: DSPy's cache knows it by
            the model's name alone, and would answer for whatever was served there before.

    Raises:
        ModelError: The name is not a model string, or an option is refused.
    """
    if "api_key" in options:
        raise ModelError(
            f"An API key was passed for {name!r}.",
            hint="Keys are read from the environment only, e.g. OPENAI_API_KEY.",
        )
    if name == EXTRACTIVE:
        engine = ExtractiveEngine(embedder)
        async_engine = AsyncExtractiveEngine(engine)
        options |= {"engine": engine, "async_engine": async_engine, "cache": False}
        return _lm(engine.model, options)
    provider, _, model = name.strip().partition("/") if isinstance(name, str) else ("", "", "")
    if not provider or not model:
        raise ModelError(f"{name!r} is not a language model.", hint=_HINT)
    if options.get("api_base"):
        options.setdefault("cache", False)
        if provider in _KEYS and not os.environ.get(_KEYS[provider]):
            options["api_key"] = NO_KEY
    return _lm(name.strip(), options)


def key_given_to(name: str, base: str | None) -> tuple[str, str] | None:
    """Return which key of the environment goes to which host that a file alone names.

    Args:
        name: A LiteLLM model string.
        base: The server's address as the file has it.

    Returns:
        The key's variable and the host; None if no key is sent, or only to this machine, or where
        the environment itself says that the server is.
    """
    provider = name.partition("/")[0]
    variable = _KEYS.get(provider, f"{provider.upper()}_API_KEY")
    host = _host(base or "")
    named = {_host(os.environ.get(one, "")) for one in _ADDRESSES}
    if not host or host in named | _HERE or not os.environ.get(variable):
        return None
    return variable, host


def warn_of_key(name: str, base: str | None) -> None:
    """Say so where a key of the environment goes to a host that an artifact alone names."""
    if sent := key_given_to(name, base):
        log.warning(
            "The artifact has its questions answered at %r, with the key in %s: unset it if you do "
            "not know that server, or set OPENAI_BASE_URL if you do.", sent[1], sent[0],
        )  # fmt: skip


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def with_output_limit(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with a limit on the answer's length, where they have none.

    A reply without an end must not cost all. OpenAI's reasoning models count their thoughts, and
    keep to limits of their own.
    """
    if name == EXTRACTIVE or is_openai_reasoner(name):
        return dict(options)
    return {"max_tokens": ANSWER_TOKENS, **options}


def lm_identity(lm: dspy.LM) -> str:
    """Return a stable string that tells models apart that may answer differently.

    It holds the model string, the settings that change answers, and the server's address without
    user, password or query; never a key.
    """
    lm = unwrap_lm(lm)
    known = {key: lm.kwargs[key] for key in _IDENTIFYING if lm.kwargs.get(key) is not None}
    base = lm.kwargs.get("api_base") or lm.kwargs.get("base_url")
    if base:
        address = urlsplit(str(base))
        known["server"] = f"{address.hostname}:{address.port or ''}{address.path}"
    return f"{lm.model} {json.dumps(known, sort_keys=True, default=str)}" if known else lm.model


class GivenModel(BaseCallback):
    """Has DSPy configured with a language model for as long as a program is called.

    DSPy copies programs without their callbacks, so that a compile's copies ask what it says.

    Args:
        lm: What predictors ask that are made while the program runs, and what asks
            `dspy.settings.lm`.
    """

    def __init__(self, lm: dspy.LM) -> None:
        self.lm = lm
        self._called: dict[str, AbstractContextManager[None]] = {}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._called[call_id] = dspy.context(lm=self.lm)
        self._called[call_id].__enter__()

    def on_module_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        self._called.pop(call_id).__exit__(None, None, None)


def give_lm(program: dspy.Module, lm: dspy.LM) -> None:
    """Have a program answer with a language model where no predictor of it says which."""
    keep_bars_apart()
    others = [one for one in program.callbacks if not isinstance(one, GivenModel)]
    program.callbacks = [*others, GivenModel(lm)]


def given_lm_of(program: dspy.Module) -> dspy.LM | None:
    """Return the language model that a program was given, if it was."""
    return next((one.lm for one in program.callbacks if isinstance(one, GivenModel)), None)


def can_write(lm: str | dspy.BaseLM) -> bool:
    """Whether a model writes new text, which optimizers that propose instructions need."""
    if isinstance(lm, str):
        return lm != EXTRACTIVE
    return not isinstance(getattr(unwrap_lm(lm), "engine", None), ExtractiveEngine)


def may_vary(lm: Any) -> bool:
    """Whether a model may answer otherwise when it is asked the same again."""
    model = unwrap_lm(lm)
    return can_write(model) and getattr(model, "kwargs", {}).get("temperature") != 0


def unwrap_lm(lm: Any) -> Any:
    """Return the model inside those that only watch over it and name it as `inner`."""
    while (inner := getattr(lm, "inner", None)) is not None:
        lm = inner
    return lm


class _CutReplies(logging.Filter):
    """Says of replies that were cut off what to do about it, once; DSPy says it of every one."""

    said = False

    def filter(self, record: logging.LogRecord) -> bool:
        if "response was truncated" not in str(record.msg):
            return True
        record.msg = (
            "A reply was cut off at max_tokens, and there may be more: raise max_tokens under [lm] "
            "of the recipe if answers are incomplete."
        )
        first, self.said = not self.said, True
        return first


@cache
def _cut_replies() -> _CutReplies:
    return _CutReplies()


def _lm(model: str, options: dict[str, Any]) -> dspy.LM:
    logging.getLogger("dspy.clients.lm").addFilter(_cut_replies())
    try:
        lm = dspy.LM(model, **options)
    except (TypeError, ValueError) as error:
        what = f"The language model {model!r} cannot be set up: {error}"
        raise ModelError(what, hint=_HINT) from error
    return with_limits(lm)


def section_of_lm(lm: Any) -> dict[str, Any]:
    """Return what a recipe's [lm] table says of a language model; nothing if it is none of DSPy's.

    Of a class of one's own it is the name alone. Never a key: those come from the environment.
    """
    lm = unwrap_lm(lm)
    if not isinstance(lm, dspy.LM):
        return {"model": lm.model} if isinstance(lm, dspy.BaseLM) else {}
    if not can_write(lm):
        return {"model": EXTRACTIVE}
    names = ("temperature", "max_tokens", "api_base")
    found = {name: lm.kwargs[name] for name in names if lm.kwargs.get(name) is not None}
    return {"model": lm.model, **found}
