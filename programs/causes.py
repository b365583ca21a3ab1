"""An error of a language model in, its cause and what to do about it out, in one sentence each.

Causes that look alike in a provider's words (a wrong key, a wrong model name, a server that is
down, a reply that was cut off) want different things done.
"""

from __future__ import annotations

from collections.abc import Iterator
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

from ragwright.programs.lm import unwrapped
from ragwright.retrievers.chunking import count_tokens

_LONG = (
    "context length", "context_length", "context window", "context size", "maximum context",
    "too many tokens", "exceeds the available context", "prompt is too long",
    "input is too long", "reduce the length",
)  # fmt: skip
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
_SURROUNDINGS = (
    ("is not json", "no reply", _ELSEWHERE),
    ("ended without a completion", "no reply", _ELSEWHERE),
    ("proxy", "a proxy", "Correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY in the environment; "
     "NO_PROXY names servers that need none, such as 127.0.0.1,localhost."),
    ("certificate", "a certificate", "Name the authority's file in SSL_CERT_FILE."),
    ("scheme", "the address", "api_base under [lm] begins with http:// or https://."),
)  # fmt: skip
"""What stands in an error of the way to a server, what is wrong, and what to do about it."""
_KINDS: tuple[tuple[tuple[type[Exception], ...], str, str, str], ...] = (
    ((LMTimeoutError,), "timeout", "took too long", "Raise timeout under [lm]."),
    ((LMTransportError,), "unreachable", "cannot be reached",
     "Start the server, or correct api_base under [lm] (it ends in /v1 mostly)."),
    ((LMRateLimitError, LMBillingError), "rate limit", "refuses more calls for now",
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


def is_too_long(error: BaseException) -> bool:
    """Whether a server refused a request because prompt and answer do not fit its window."""
    said = str(error).casefold()
    return isinstance(error, ContextWindowExceededError) or any(part in said for part in _LONG)


def cause_of(error: BaseException, lm: Any = None) -> Cause:
    """Tell what kind of failure an error is.

    Args:
        error: Of DSPy, or what one is wrapped around.
        lm: The model that was called, for its name and address.
    """
    model = unwrapped(lm)
    name = str(getattr(model, "model", "the language model"))
    address = str(getattr(model, "kwargs", {}).get("api_base") or "")
    if isinstance(error, AdapterParseError):
        return _unread(error, model, name)
    if is_too_long(error):
        return Cause(
            "context too long",
            f"Prompt and answer do not fit the window of {name!r}.",
            "Set context_window under [lm], or lower context_tokens, k or max_tokens.",
        )
    return _refused(error, name, address)


def _refused(error: BaseException, name: str, address: str) -> Cause:
    model = f"{name!r} at {address}" if address else repr(name)
    said = " ".join(str(error).split())[:200]
    if "content_filter" in said or "content filter" in said:
        return Cause("content filter", f"{model} was not allowed to answer.", _FILTERED)
    if "model_not_found" in said or "does not exist" in said or _status(error) == 404:
        return Cause("model name", f"There is no model {model}: {said}", _MISNAMED)
    for word, kind, hint in _SURROUNDINGS:
        if word in said.casefold() and not isinstance(error, LMServerError | LMRateLimitError):
            return Cause(kind, f"{model} cannot be reached: {said}", hint)
    if isinstance(error, LMTransportError) and (cause := _connected(error, model, said)):
        return cause
    for kinds, kind, what, hint in _KINDS:
        if isinstance(error, kinds):
            return Cause(kind, f"{model} {what}: {said}", hint)
    return Cause("refused", f"{model} failed ({type(error).__name__}): {said}", _UNKNOWN)


def _connected(error: LMTransportError, model: str, said: str) -> Cause | None:
    """Tell what went wrong once a connection stood; None where none came about.

    DSPy's own client has one error for all of it, raised from what happened.
    """
    met = {kind.__name__ for one in _chain(error) for kind in type(one).__mro__}
    if "ConnectError" in met:
        return None
    if "TimeoutError" in met or any(words in said for words in _LATE):
        _, kind, what, hint = _KINDS[0]
        return Cause(kind, f"{model} {what}: {said}", hint)
    if met & _ON_THE_WAY:
        return Cause("broken off", f"{model} broke off: {said}", "Look at the server's log.")
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
    shown = " ".join(said.split())[:100]
    return Cause(
        "unreadable",
        f"Nothing could be made of the reply of {name!r}: {shown!r}",
        '`rag lm check RECIPE` tells which format works; try [lm] format = "plain".',
    )
