"""Normalizes the JSON of a language model's reply to the shape that DSPy's client reads.

Servers that speak OpenAI's protocol differ in what stands around a text: numbers of tokens that are
none, a text in pieces, an error that says nothing beside a good answer, a whole reply where a
stream was asked for. None of these loses an answer. Knows neither prompts nor answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ragwright.programs.reply_errors import (
    choice_error,
    error_object,
    normalize_refusal,
    response_error,
)
from ragwright.programs.usage import plain_usage
from ragwright.retrievers.metadata import clean_text, has_unstorable_characters

_TEXTS = ("text", "output_text")
_CALLED = "tool_use"
"""A part whose input is what a tool that nobody offered would be handed."""
_PIECE = 4000
"""Signs of an event: DSPy's client takes lines of up to 64 KB."""
_SIGNS = (
    b'"usage"', b'"error"', b'"content":[', b'"content": [', b'"content":{', b'"content": {',
    b'"message"', b'"text"', b'"refusal"', b'"function_call"', b'"finish_reason":"',
    b'"finish_reason": "', b'"response.incomplete"', b'"response.failed"', b"\\ud", b"\\uD",
    b"\\u0000", b"NaN", b"Infinity",
)  # fmt: skip
"""What stands in every event of a stream that may want a change."""
_OTHER = re.compile(rb'"index": ?[1-9]')
_UNDONE = ("response.incomplete", "response.failed")
_FIELD, _DONE = b"data:", b"[DONE]"


def needs_normalizing(event: bytes) -> bool:
    """Whether a line of a stream is worth looking into."""
    return any(sign in event for sign in _SIGNS) or _OTHER.search(event) is not None


def complete_event_line(line: bytes) -> bytes:
    """Return a line of a stream; a whole event with its field and with the end that it needs.

    Some servers send JSON alone, end an event with its line, or lines with a carriage return.
    """
    said = line.strip()
    if said.startswith(b"{") and said.endswith(b"}"):
        return _FIELD + b" " + said + b"\n\n"
    value = said.removeprefix(_FIELD).strip()
    whole = value == _DONE or (value.startswith(b"{") and value.endswith(b"}"))
    return said + b"\n\n" if whole and said.startswith(_FIELD) else line.rstrip(b"\r\n") + b"\n"


def read_json(body: bytes) -> Any:
    """Return what a body says, numbers that JSON has not as None; None if it is no JSON.

    Bytes that are no text are replaced, as in a stream: they cost one sign, no answer.
    """
    try:
        return json.loads(body, parse_constant=_no_number)
    except UnicodeDecodeError:
        return read_json(body.decode("utf-8", "replace").encode())
    except (ValueError, RecursionError):
        return None


def plain_reply(said: Any, *, failed: bool = False, spoke: bool = False) -> Any:
    """Return a reply, or an event of a stream, as DSPy's client reads it.

    Args:
        said: What its JSON says.
        failed: Whether its status is that of a failure.
        spoke: Whether events before this one held text.
    """
    refused = failed or (isinstance(said, dict) and said.get("object") == "error")
    said = clean_texts(normalize_refusal(said) if refused else said)
    if not isinstance(said, dict):
        return said
    plain = dict(said)
    if "usage" in plain:
        plain["usage"] = plain_usage(plain["usage"])
    if "error" in plain:
        plain["error"] = error_object(plain["error"], named=not failed)
    if plain.get("object") == "response":
        plain = _response(plain)
    elif plain.get("type") in _UNDONE and isinstance(plain.get("response"), dict):
        plain = _last(plain, plain["response"])
    if isinstance(plain.get("choices"), list):
        plain["choices"] = [_choice(one) for one in _asked_for(plain["choices"])]
        errors = [choice_error(one, spoke=spoke) for one in plain["choices"]]
        for error in filter(None, errors):
            plain["error"] = plain.get("error") or error
    return plain


def _response(said: dict[str, Any]) -> dict[str, Any]:
    """Return a reply of the Responses API: a refusal in it as text, as its streams have it."""
    output = said.get("output")
    items = [_item(one) for one in output] if isinstance(output, list) else output
    return {**said, "output": items, "error": response_error(said)}


def _last(event: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """Return the last event of a stream of that API as one of those that DSPy's client knows."""
    error = response_error(response)
    if error is not None:
        return {"type": "error", "error": error}
    return {**event, "type": "response.completed", "response": _response(response)}


def _item(item: Any) -> Any:
    parts = item.get("content") if isinstance(item, dict) else None
    if not isinstance(parts, list):
        return item
    return {**item, "content": [_refusing(one) for one in parts]}


def _refusing(part: Any) -> Any:
    refuses = isinstance(part, dict) and part.get("type") == "refusal"
    return {"type": "output_text", "text": str(part.get("refusal"))} if refuses else part


def as_events(said: Any) -> Iterator[bytes]:
    """Yield a whole reply as the events of a stream, for whoever asked for one."""
    choices = said.get("choices")
    for choice in choices if choices and isinstance(choices, list) else [{}]:
        message = choice.get("message") if isinstance(choice, dict) else None
        for delta in _deltas(message if isinstance(message, dict) else {}):
            yield as_event({"choices": [{"index": 0, "delta": delta}]})
        ended = choice.get("finish_reason") if isinstance(choice, dict) else None
        last: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": ended or "stop"}
        kept = {name: value for name, value in said.items() if name in ("error", "usage", "model")}
        yield as_event({**kept, "choices": [last] if "choices" in said else []})
    yield b"data: [DONE]\n\n"


def as_reply(body: bytes) -> dict[str, Any]:
    """Return a stream that nobody asked for as the whole reply that it is; calls of tools not."""
    lines = (line[len(_FIELD) :] for line in body.splitlines() if line.startswith(_FIELD))
    events: list[dict[str, Any]] = []
    spoke = False
    for line in lines:
        event = plain_reply(read_json(line), spoke=spoke)
        events += [event] if isinstance(event, dict) else []
        spoke = spoke or _has_text(event)
    chosen = [event["choices"] for event in events if isinstance(event.get("choices"), list)]
    choices = [one for some in chosen for one in some if isinstance(one, dict)]
    deltas = [one["delta"] for one in choices if isinstance(one.get("delta"), dict)]
    message = {
        name: "".join(text for delta in deltas if isinstance(text := delta.get(name), str))
        for name in ("content", "reasoning_content", "reasoning")
    }
    ended = [one["finish_reason"] for one in choices if one.get("finish_reason")]
    choice = {"index": 0, "message": message, "finish_reason": (ended or ["stop"])[-1]}
    told = {name: event[name] for event in events for name in ("model", "usage", "error")
            if event.get(name)}  # fmt: skip
    return {"choices": [choice] if choices else [], **told}


def _has_text(event: Any) -> bool:
    choices = event.get("choices") if isinstance(event, dict) else None
    held = choices if isinstance(choices, list) else []
    deltas = (one.get("delta") for one in held if isinstance(one, dict))
    return any(isinstance(delta, dict) and delta.get("content") for delta in deltas)


def clean_texts(value: Any) -> Any:
    """Return JSON in which no text holds what cannot be sent or stored: NUL, half a pair."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        odd_names = any(isinstance(name, str) and has_unstorable_characters(name) for name in value)
        named = {clean_text(name): one for name, one in value.items()} if odd_names else value
        return {name: clean_texts(one) for name, one in named.items()}
    return [clean_texts(one) for one in value] if isinstance(value, list) else value


def _no_number(_: str) -> None:
    """What stands for NaN and the infinities."""


def _asked_for(choices: list[Any]) -> list[Any]:
    """Return the choice that is meant, as one is all that is ever asked for.

    Of a whole reply the first that says anything; of a stream never a piece of another one.
    """
    messages = [one.get("message") if isinstance(one, dict) else None for one in choices]
    said = [
        one
        for one, message in zip(choices, messages, strict=True)
        if isinstance(message, dict) and (message.get("content") or message.get("tool_calls"))
    ]
    pieces = [one for one in choices
              if not (isinstance(one, dict) and "delta" in one and one.get("index"))]  # fmt: skip
    return (said or pieces)[:1]


def _choice(choice: Any) -> Any:
    """Return a choice whose message says as text what it says: in parts, refusing, or as a call."""
    if not isinstance(choice, dict):
        return choice
    plain = dict(choice)
    for name in ("message", "delta"):
        said = plain.get(name)
        if isinstance(said, dict | str):
            plain[name] = _message(said if isinstance(said, dict) else {"content": said})
    said = plain.get("message") or plain.get("delta") or {"content": plain.get("text")}
    return {"message": said, "delta": said, **plain}


def _message(said: dict[str, Any]) -> dict[str, Any]:
    content, call = said.get("content"), said.get("function_call")
    if isinstance(content, dict | list):
        content = "".join(_texts(content if isinstance(content, list) else [content]))
    elif isinstance(content, int | float):
        content = str(content)
    plain = {**said, "content": content or said.get("refusal") or content}
    if isinstance(call, dict) and not said.get("tool_calls"):
        plain["tool_calls"] = [{"index": 0, "id": "0", "type": "function", "function": call}]
    return plain


def _texts(parts: list[Any]) -> Iterator[str]:
    """Yield the texts of a content's parts; thoughts, which stand in parts of their own, not."""
    for part in parts:
        if isinstance(part, dict) and part.get("type", "text") not in _TEXTS:
            if part["type"] == _CALLED and isinstance(part.get("input"), dict):
                yield json.dumps(part["input"])
            continue
        text = part.get("text") if isinstance(part, dict) else part
        text = text.get("value") if isinstance(text, dict) else text
        if isinstance(text, str):
            yield text
        elif isinstance(part, dict) and part and not {"type", "text"} & set(part):
            yield json.dumps(part)  # a server that enforces a schema may hand on what it read


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


def as_event(said: dict[str, Any]) -> bytes:
    """Return JSON as an event of a stream."""
    return b"data: " + json.dumps(said).encode() + b"\n\n"
