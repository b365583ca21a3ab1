"""What the server of a model says of itself: how many tokens it reads and writes, how many callers.

A server of one's own often has a smaller window than the model: vLLM says so at `/v1/models`,
llama.cpp at `/props`, LM Studio at `/api/v0/models`. Where none says, a refusal that names the
number is remembered. llama.cpp also says how many it answers at a time; others wait in its queue.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Literal

import httpx

from ragwright.programs.lm import lm_identity, unwrap_lm

_OK = 200
_SECONDS = 1.0
_WHOLE_SECONDS = 3.0
_ADDRESSES = 3
_MOST_BYTES = 4 << 20
_SAID = re.compile(
    r"(?:context (?:length|window|size)|n_ctx|max_model_len|maximum|must be <=|must have less than"
    r"|limit)\D{0,60}?(\d{3,7})",
    re.I,
)
_KEYS = ("max_model_len", "loaded_context_length", "max_context_length", "context_length", "n_ctx")


def served_window(lm: Any) -> int | None:
    """Return the window that the server of a model states; asked once per process."""
    base = _base(lm)
    name = str(getattr(unwrap_lm(lm), "model", "")).partition("/")[2]
    return _asked(base, name, "window") if base else None


def served_slots(lm: Any) -> int | None:
    """Return how many calls the server of a model answers at a time, where it says so.

    Asked once per process.
    """
    base = _base(lm)
    return _asked(base, "", "slots") if base else None


def learned_window(lm: Any) -> int | None:
    """Return the window that a refusal of this model has taught."""
    return _learned().get(_key(lm))


def learn_window(lm: Any, error: BaseException, asked: int) -> int:
    """Remember what a refusal says of the window.

    Args:
        lm: The model.
        error: Its refusal.
        asked: Tokens of the prompt and the room for the answer that were refused.

    Returns:
        The window; three quarters of what was asked, if the refusal names none below it.
    """
    named = [int(number) for number in _SAID.findall(str(error))]
    smaller = [number for number in named if number < asked]
    window = max(smaller, default=asked * 3 // 4)
    known = _learned().get(_key(lm))
    _learned()[_key(lm)] = window if known is None else min(window, known)
    return _learned()[_key(lm)]


def _base(lm: Any) -> str:
    settings = getattr(unwrap_lm(lm), "kwargs", {})
    return str(settings.get("api_base") or settings.get("base_url") or "").rstrip("/")


def _key(lm: Any) -> str:
    model = unwrap_lm(lm)
    return lm_identity(model) if hasattr(model, "kwargs") else type(model).__name__


@cache
def _learned() -> dict[str, int]:
    return {}


@lru_cache(maxsize=256)
def _asked(base: str, name: str, what: Literal["window", "slots"]) -> int | None:
    """Ask a server, and wait no longer than `_WHOLE_SECONDS` for each of its addresses.

    httpx bounds the wait for each piece alone, and a head may come in as many as it has letters.
    """
    told: SimpleQueue[int | None] = SimpleQueue()
    root = base.removesuffix("/v1")
    addresses = (f"{base}/models", f"{root}/props", f"{root}/api/v0/models")
    search = partial(_stated, name=name) if what == "window" else _stated_slots
    asked = addresses if what == "window" else addresses[1:2]
    asking = Thread(target=lambda: told.put(_searched(asked, search)), name=what, daemon=True)
    asking.start()
    try:
        return told.get(timeout=_ADDRESSES * _WHOLE_SECONDS)
    except Empty:
        return None


def _searched(addresses: Sequence[str], stated: Callable[[Any], int | None]) -> int | None:
    try:
        with httpx.Client(timeout=_SECONDS) as client:
            found = (stated(_said(client, address)) for address in addresses)
            return next((number for number in found if number), None)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError, OSError, ImportError):
        # The last two: certificates and proxies that the environment names and that are not there.
        return None


def _said(client: httpx.Client, address: str) -> Any:
    """Ask an address; nothing if it refuses, says too much, or does not come to its end."""
    until, body = time.monotonic() + _WHOLE_SECONDS, b""
    with client.stream("GET", address) as reply:
        if reply.status_code != _OK:
            return None
        for piece in reply.iter_bytes():
            body += piece
            if len(body) > _MOST_BYTES or time.monotonic() > until:
                return None
    return json.loads(body)


def _stated(said: Any, name: str) -> int | None:
    if not isinstance(said, dict):
        return None
    listed = said.get("data")
    if isinstance(listed, list):
        models = [one for one in listed if isinstance(one, dict)]
        named = [one for one in models if one.get("id") == name]
        said = (named or models or [{}])[0] if named or len(models) == 1 else {}
    settings = said.get("default_generation_settings")
    said = {**said, **(settings if isinstance(settings, dict) else {})}
    return next((number for key in _KEYS if (number := _count(said.get(key)))), None)


def _stated_slots(said: Any) -> int | None:
    return _count(said.get("total_slots")) if isinstance(said, dict) else None


def _count(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
