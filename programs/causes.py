"""Explains an error of a language model: its cause and what to do about it.

Causes that look alike in a provider's words (a wrong key, a wrong model name, a server that is
down, a reply that was cut off) want different things done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dspy.utils.exceptions import (
    AdapterParseError,
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
    LMUnsupportedModelError,
)

from ragwright.programs.lm import unwrap_lm
from ragwright.programs.replies.thoughts import without_thoughts
from ragwright.programs.reply_errors import NO_CHOICES
from ragwright.retrievers.chunking import count_tokens
from ragwright.retrievers.errors import as_sentence

_LONG = (
    "context length", "context_length", "context window", "context size", "maximum context",
    "too many tokens", "exceeds the available context", "prompt is too long",
    "input is too long", "reduce the length", "request too large for model",
    "`inputs` tokens + `max_new_tokens`", "`inputs` must have less than",
)  # fmt: skip
_NO_MODEL = (
    "model_not_found", "does not exist", "model_decommissioned", "invalid model", "invalid_model",
    "is not a valid model",
)  # fmt: skip
_OF_CLIENT = re.compile(r"^\[[^\]\s]+\] | To fix: .*| credential came from: .*")
"""What DSPy's client puts around a server's words, for those who use it by itself."""
_TAGS = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_READ = 2000
"""Signs of an error that are looked at: a page goes on and on."""
_PAGE = re.compile(r"<!doctype html|<html", re.IGNORECASE)
_KEPT_BACK = ("content_filter", "content filter", "candidate blocked", "prompt blocked")
_FILTERED = "Ask otherwise, or leave the passage out: the provider's rules decide."
_MISNAMED = (
    "Correct model under [lm]: provider/NAME, as the server lists it (/v1/models); or api_base, "
    "which ends in /v1 mostly."
)
_UNKNOWN = "`rag lm check RECIPE` tells what works."
_KEY = "Put the provider's key into the environment, e.g. OPENAI_API_KEY."
_ELSEWHERE = (
    "Correct api_base under [lm] (it ends in /v1 mostly), or see what stands before the server."
)
_NO_CREDIT = (
    "has no credit left for this key",
    "Top up the account of the key, or take another model under [lm].",
)
_SURROUNDINGS = (
    ("is not json", "no reply", "sent no reply", _ELSEWHERE),
    (NO_CHOICES, "no reply", "sent no reply", _ELSEWHERE),
    ("ended without a completion", "broken off", "sent no reply to its end",
     f"Look at the server's log. {_ELSEWHERE}"),
    ("method not allowed", "no reply", "sent no reply", _ELSEWHERE),
    ("credit balance", "credit", *_NO_CREDIT),
    ("api key not valid", "key", "does not accept the key", _KEY),
    ("proxy", "a proxy", "cannot be reached", "Correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY in the "
     "environment; NO_PROXY names servers that need none, such as 127.0.0.1,localhost."),
    ("certificate", "a certificate", "cannot be reached",
     "Name the authority's file in SSL_CERT_FILE."),
    ("scheme", "the address", "cannot be reached",
     "api_base under [lm] begins with http:// or https://."),
)  # fmt: skip
"""What stands in an error of the way to a server, what is wrong, and what to do about it."""
_BUSY = (
    ("loading model", "loading", "is not ready", "Wait until the server has loaded the model."),
    ("overloaded", "overloaded", "has too much to do", "Wait, or raise num_retries under [lm]."),
    ("too many requests", "rate limit", "refuses more calls for now",
     "Wait, lower threads under [compile], or raise num_retries under [lm]."),
)  # fmt: skip
"""The same of servers that are well, and cannot answer yet."""
_KINDS: tuple[tuple[tuple[type[Exception], ...], str, str, str], ...] = (
    ((LMTimeoutError,), "timeout", "took too long",
     "Raise timeout under [lm], or that of what stands before the server."),
    ((LMTransportError,), "unreachable", "cannot be reached",
     "Start the server, or correct api_base under [lm] (it ends in /v1 mostly)."),
    ((LMBillingError,), "credit", *_NO_CREDIT),
    ((LMRateLimitError,), "rate limit", "refuses more calls for now",
     "Wait, lower threads under [compile], or raise num_retries under [lm]."),
    ((LMAuthError, LMConfigurationError), "key", "does not accept the key", _KEY),
    ((LMUnsupportedModelError,), "model name", "is not there", _MISNAMED),
    ((LMServerError,), "server", "failed", "Look at the server's log."),
)  # fmt: skip
_ON_THE_WAY = {
    "ReadError",
    "WriteError",
    "ProtocolError",
    "ConnectionResetError",
    "BrokenPipeError",
}
"""Classes of DSPy's, httpx's and Python's own client: met once a connection stood."""
_LATE = ("timed out", "was not whole after")
"""What DSPy says where an awaited stream ran out of time: that error has no cause."""
_EMPTY = (
    "Raise max_tokens under [lm] if the model thinks first: its thoughts count. Otherwise see the "
    "server's log."
)
_CUT = 0.9
"""Share of `max_tokens` from which on a reply that can't be read counts as cut off."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a language model gave no usable reply.

    Attributes:
        kind: In a word or two.
        what: In a sentence.
        hint: What to do about it.
    """

    kind: str
    what: str
    hint: str


def is_over_window(error: BaseException) -> bool:
    """Whether a server refused a request because prompt and answer do not fit its window."""
    said = str(error).casefold()
    return isinstance(error, ContextWindowExceededError) or any(part in said for part in _LONG)


def is_content_filtered(error: BaseException) -> bool:
    """Whether a provider's rules kept a model from being asked, or its reply from being sent."""
    said = str(error).casefold()
    named = getattr(error, "provider_code", None) == "content_filter"
    return named or any(words in said for words in _KEPT_BACK)


def cause_of(error: BaseException, lm: Any = None) -> Cause:
    """Tell what kind of failure an error is.

    Args:
        error: Of DSPy, or what one is wrapped around.
        lm: The model that was called, for its name and address.
    """
    model = unwrap_lm(lm)
    name = str(getattr(model, "model", "the language model"))
    address = str(getattr(model, "kwargs", {}).get("api_base") or "")
    if isinstance(error, AdapterParseError):
        return _unread(error, model, name)
    if is_over_window(error):
        return Cause(
            "context too long",
            f"Prompt and answer do not fit the window of {name!r}.",
            "Set context_window under [lm], or lower context_tokens, k or max_tokens.",
        )
    return _refused(error, name, address)


def _refused(error: BaseException, name: str, address: str) -> Cause:
    model = f"{name!r} at {address}" if address else repr(name)
    whole = str(error)
    said = _words(whole)
    found = _by_words(error, whole.casefold())
    if found is None and isinstance(error, LMTransportError):
        found = _connected(error, whole)
    if found is None:
        known = (found for kinds, *found in _KINDS if isinstance(error, kinds))
        other = ("refused", f"failed ({type(error).__name__})", _UNKNOWN)
        found = next(known, other)
    kind, what, hint = found
    return Cause(kind, as_sentence(f"{model} {what}: {said}".rstrip(": ")), hint)


def _by_words(error: BaseException, said: str) -> Sequence[str] | None:
    """Tell what went wrong by what a server said: kind, what, hint; None if it says too little."""
    if is_content_filtered(error):
        return "content filter", "was not allowed to answer", _FILTERED
    if any(words in said for words in _NO_MODEL) or _status(error) == 404:
        return "model name", "is not there", _MISNAMED
    if isinstance(error, LMAuthError) and _PAGE.search(said):
        return "no reply", "cannot be reached", _ELSEWHERE
    busy = isinstance(error, LMServerError | LMRateLimitError)
    known = _BUSY if busy else _SURROUNDINGS
    return next((found for words, *found in known if words.casefold() in said), None)


def _words(said: str) -> str:
    """Return what a server said in one line: no tags of its page, nothing of DSPy's client."""
    said = said[:_READ]
    text = _TAGS.sub(" ", said) if _PAGE.search(said) else said
    return _OF_CLIENT.sub("", " ".join(text.split()))[:200]


def _connected(error: LMTransportError, said: str) -> Sequence[str] | None:
    """Tell what went wrong once a connection stood; None where none came about.

    DSPy's own client has one error for all of it, raised from what happened.
    """
    met = {kind.__name__ for one in _chain(error) for kind in type(one).__mro__}
    if "ConnectError" in met:
        return None
    if "TimeoutError" in met or any(words in said for words in _LATE):
        return _KINDS[0][1:]
    if met & _ON_THE_WAY:
        return "broken off", "broke off", "Look at the server's log."
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _status(error: BaseException) -> int:
    return int(getattr(error, "status", None) or 0)


def _unread(error: AdapterParseError, model: Any, name: str) -> Cause:
    most = getattr(model, "kwargs", {}).get("max_tokens")
    said = str(error.lm_response or "")
    if most and count_tokens(said) >= _CUT * int(most):
        return Cause(
            "cut off",
            f"The reply of {name!r} was cut off at max_tokens = {most}, before an answer.",
            "Raise max_tokens under [lm]; models that think aloud need more.",
        )
    if not without_thoughts(said).strip():
        what = (
            "holds thoughts and no answer" if said.removeprefix("<think>").strip() else "is empty"
        )
        return Cause("unreadable", f"The reply of {name!r} {what}.", _EMPTY)
    shown = " ".join(said.split())[:100]
    return Cause(
        "unreadable",
        f"Nothing could be made of the reply of {name!r}: {shown!r}",
        '`rag lm check RECIPE` tells which format works; try [lm] format = "plain".',
    )
