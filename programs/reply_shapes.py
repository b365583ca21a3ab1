"""The JSON of a language model's reply in, the same in the one shape that DSPy's client reads out.

Servers that speak OpenAI's protocol differ in what stands around a text: numbers of tokens that are
none, a text in pieces, an error that says nothing beside a good answer, a whole reply where a
stream was asked for. None of these loses an answer. Knows neither prompts nor answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ragwright.programs.usage import plain_usage
from ragwright.retrievers.metadata import clean, unclean

_TEXTS = ("text", "output_text")
_PIECE = 4000
"""Signs of an event: DSPy's client takes lines of up to 64 KB."""
_SIGNS = (b'"usage"', b'"error"', b'"content":[', b'"content": [', b"\\ud", b"\\uD", b"\\u0000",
          b"NaN", b"Infinity")  # fmt: skip
"""What stands in every event of a stream that may want a change."""


def odd(event: bytes) -> bool:
    """Whether a line of a stream is worth looking into."""
    return any(sign in event for sign in _SIGNS)


def read_json(body: bytes) -> Any:
    """Return what a body says, numbers that JSON has not as None; None if it is no JSON."""
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None


def plain_reply(said: Any) -> Any:
    """Return a reply, or an event of a stream, as DSPy's client reads it."""
    said = clean_texts(said)
    if not isinstance(said, dict):
        return said
    plain = dict(said)
    if "usage" in plain:
        plain["usage"] = plain_usage(plain["usage"])
    if "error" in plain:
        plain["error"] = _told(plain["error"])
    if isinstance(plain.get("choices"), list):
        # One is all that is ever asked for.
        plain["choices"] = [_choice(one) for one in plain["choices"][:1]]
    return plain


def as_events(said: Any) -> Iterator[bytes]:
    """Yield a whole reply as the events of a stream, for whoever asked for one."""
    for choice in said.get("choices") or [{}]:
        message = choice.get("message") if isinstance(choice, dict) else None
        for delta in _deltas(message if isinstance(message, dict) else {}):
            yield _event({"choices": [{"index": 0, "delta": delta}]})
        ended = choice.get("finish_reason") if isinstance(choice, dict) else None
        last: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": ended or "stop"}
        kept = {name: value for name, value in said.items() if name in ("error", "usage", "model")}
        yield _event({**kept, "choices": [last] if "choices" in said else []})
    yield b"data: [DONE]\n\n"


def clean_texts(value: Any) -> Any:
    """Return JSON in which no text holds what cannot be sent or stored: NUL, half a pair."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        odd_names = any(isinstance(name, str) and unclean(name) for name in value)
        named = {clean(name): one for name, one in value.items()} if odd_names else value
        return {name: clean_texts(one) for name, one in named.items()}
    return [clean_texts(one) for one in value] if isinstance(value, list) else value


def _no_number(_: str) -> None:
    """What stands for NaN and the infinities."""


def _told(error: Any) -> Any:
    """Return an error as the object that it should be; None if it says nothing."""
    if isinstance(error, dict):
        return error if any(value for value in error.values()) else None
    return {"message": str(error)} if error else None


def _choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    plain = dict(choice)
    for name in ("message", "delta"):
        said = plain.get(name)
        if isinstance(said, dict) and isinstance(said.get("content"), list):
            plain[name] = {**said, "content": "".join(_texts(said["content"]))}
    return plain


def _texts(parts: list[Any]) -> Iterator[str]:
    """Yield the texts of a content's parts; thoughts, which stand in parts of their own, not."""
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        if isinstance(text, str) and kind in _TEXTS:
            yield text


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("reasoning_content", "reasoning", "content"):
        text = message.get(name)
        if isinstance(text, str):
            for start in range(0, len(text), _PIECE):
                yield {name: text[start : start + _PIECE]}
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        yield {"tool_calls": [{"index": at, **one} for at, one in enumerate(calls)
                              if isinstance(one, dict)]}  # fmt: skip


def _event(said: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"
