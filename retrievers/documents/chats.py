"""Reads conversations that programs export as JSON: a line a message, "Ann: The pump is broken."

And transcripts of what was said, a line a segment.

Not by product, but by what all of them have: a list of messages, each with a text and most with
who wrote it and when, under one of the names that are in use. What is no conversation is none.
"""

from __future__ import annotations

import datetime
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.jsonl import decode_json

_LISTS = ("messages", "chat_messages", "conversation", "conversations", "turns")
CHATS = frozenset(_LISTS)
"""What messages stand under."""
_TEXTS = ("text", "content", "body", "parts", "message", "value")
_WRITERS = (
    "from", "author", "sender", "sender_name", "creator", "user_profile", "user", "username",
    "role",
)  # fmt: skip
_NAMES = ("display_name", "real_name", "global_name", "nickname", "name", "username", "role")
_TIMES = (
    "date", "timestamp", "ts", "create_time", "created_at", "created_date", "timestamp_ms", "time",
)  # fmt: skip
_TITLES = ("title", "name")
_MAYBE = re.compile(
    rf'"(?:{"|".join(_LISTS)}|mapping)"\s*:\s*[\[{{]|"type"\s*:\s*"message"', re.IGNORECASE
)
_SEGMENTS = re.compile(r'"segments"\s*:\s*\[')
_NOTICES = frozenset({"channel_join", "channel_leave", "bot_add", "bot_remove"})
_LINK = re.compile(r"<(https?://[^<>|\s]{1,2000})(?:\|([^<>]{1,500}))?>")
_MILLISECONDS = 1e11
_LATEST = 4e9
_DEEPEST = 4


class _Message(NamedTuple):
    writer: str
    text: str
    time: str


def chat_text(text: str) -> FileText | None:
    """Return the conversations that JSON, or lines of it, hold; nothing of other JSON."""
    if not _MAYBE.search(text):
        return None
    found = [chat for value in _values(text) for chat in _conversations(value)]
    if not found:
        return None
    made = FileText(found[0][0] if len(found) == 1 else "", "")
    for title, messages in found:
        made.text += "\n\n" if made.text else ""
        made.text += f"# {title}\n\n" if title else ""
        _add(made, messages)
    return made


def transcript_text(text: str) -> FileText | None:
    """Return what was said in a transcript (of Whisper, say), a line a segment, and when.

    >>> said = transcript_text('{"segments": [{"start": 61.5, "text": " Hello."}]}')
    >>> (said.text, said.places)
    ('Hello.', [(0, {'moment': '00:01:01'})])
    """
    if not _SEGMENTS.search(text):
        return None
    try:
        value = decode_json(text)
    except ValueError:
        return None
    listed = value.get("segments") if isinstance(value, Mapping) else None
    made = FileText("", "")
    for one in listed if isinstance(listed, list) else ():
        start, said = (one.get("start"), one.get("text")) if isinstance(one, Mapping) else (0, None)
        if not isinstance(start, int | float) or not isinstance(said, str):
            return None
        made.text += "\n" if made.text else ""
        seconds = int(start) if 0 <= start < _LATEST else 0
        moment = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        made.places.append((len(made.text), {"moment": moment}))
        made.text += " ".join(said.split())
    return made if made.text else None


def is_chat_message(row: Any) -> bool:
    """Tell whether a row is a message of Slack, whose exports are lists of these alone."""
    return isinstance(row, Mapping) and row.get("type") == "message" and "ts" in row


def _add(made: FileText, messages: Sequence[_Message]) -> None:
    for number, message in enumerate(messages):
        made.text += "\n" if number else ""
        if message.time:
            made.places.append((len(made.text), {"time": message.time}))
        made.text += f"{message.writer}: {message.text}" if message.writer else message.text


def _values(text: str) -> list[Any]:
    """Return the value of a JSON text, or that of each line; nothing of what is no JSON."""
    try:
        return [decode_json(text)]
    except ValueError:
        pass
    try:
        return [decode_json(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return []


def _conversations(value: Any) -> list[tuple[str, list[_Message]]]:
    """Return each conversation in a value with its title; none if anything else is a part of it."""
    if isinstance(value, list):
        if value and all(map(is_chat_message, value)):
            return [("", _messages(value))]
        found = [_conversation(one) for one in value]
    else:
        found = [_conversation(value)]
    return [] if None in found else [one for one in found if one and one[1]]


def _conversation(value: Any) -> tuple[str, list[_Message]] | None:
    """Return the title and the messages of a conversation; None if it is none."""
    if not isinstance(value, Mapping):
        return None
    listed = next((value[name] for name in _LISTS if isinstance(value.get(name), list)), None)
    if isinstance(value.get("mapping"), Mapping):
        listed = [*_thread(value["mapping"], value.get("current_node"))]
    if listed is None or not all(isinstance(one, Mapping) for one in listed):
        return None
    messages = _messages(listed)
    written = sum(bool(message.writer) for message in messages)
    if listed and (not messages or 2 * written < len(messages)):
        return None
    channel = value.get("channel")
    named = {**(channel if isinstance(channel, Mapping) else {}), **value}
    title = next((named[name] for name in _TITLES if isinstance(named.get(name), str)), "")
    return " ".join(title.split()), messages


def _thread(nodes: Mapping[str, Any], last: Any) -> Iterator[Any]:
    """Yield the messages of a tree of them: those that lead to the last one, or all."""
    path, at = dict[str, Any](), last
    while isinstance(at, str) and at not in path and isinstance(nodes.get(at), Mapping):
        path[at] = nodes[at]
        at = nodes[at].get("parent")
    for node in reversed(path.values()) if path else nodes.values():
        message = node.get("message") if isinstance(node, Mapping) else None
        if isinstance(message, Mapping):
            yield message


def _messages(listed: Sequence[Mapping[str, Any]]) -> list[_Message]:
    """Return the messages that say something, the oldest first."""
    found = [
        _Message(_writer(one), text, _time(one))
        for one in listed
        if one.get("type") != "service" and one.get("subtype") not in _NOTICES
        if (text := _shown(one))
    ]
    backwards = len(found) > 1 and found[0].time > found[-1].time > ""
    return found[::-1] if backwards else found


def _shown(message: Mapping[str, Any]) -> str:
    text = _said(next((message[name] for name in _TEXTS if message.get(name)), ""), 0).strip()
    if is_chat_message(message):
        text = html.unescape(_LINK.sub(lambda link: f"{link[2] or ''} {link[1]}".strip(), text))
    return _mended(text) if "sender_name" in message else text


def _said(value: Any, depth: int) -> str:
    """Return the text in a value, which may be in parts."""
    if isinstance(value, str):
        return value
    if depth > _DEEPEST:
        return ""
    if isinstance(value, list):
        return "".join(_said(part, depth + 1) for part in value)
    if isinstance(value, Mapping):
        return _said(next((value[name] for name in _TEXTS if value.get(name)), ""), depth + 1)
    return ""


def _writer(message: Mapping[str, Any]) -> str:
    for name in _WRITERS:
        value = message.get(name)
        if isinstance(value, Mapping):
            value = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), None)
        if isinstance(value, str) and value.strip():
            return _mended(value.strip()) if name == "sender_name" else value.strip()
    return ""


def _mended(text: str) -> str:
    """Return a text whose bytes were written as letters (Messenger: `Ã¼` for `ü`) as it was."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _time(message: Mapping[str, Any]) -> str:
    """Return when a message was written, in ISO 8601 if it is told in seconds."""
    said = next((message[name] for name in _TIMES if message.get(name)), "")
    try:
        seconds = float(said)
    except (TypeError, ValueError, OverflowError):
        return said if isinstance(said, str) else ""
    seconds = seconds / 1000 if seconds > _MILLISECONDS else seconds
    if not 0 < seconds < _LATEST:
        return ""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
