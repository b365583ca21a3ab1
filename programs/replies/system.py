"""Asks models that take no system message: what it says stands before the first question then.

Gemma's and some of Mistral's templates, and OpenAI's first models that reason, refuse any request
with one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_JOINED: ContextVar[bool] = ContextVar("joined", default=False)
_REFUSED = re.compile(
    r"(system|developer)[ _'\"]*(role|message|prompt|instruction)s?\W.{0,40}"
    r"not (supported|enabled|allowed)"
    r"|not support.{0,20}(system|developer)|roles must alternate"
    r"|only.{0,20}user.{0,10}and.{0,10}assistant.{0,10}roles",
    re.IGNORECASE,
)

Messages = list[dict[str, Any]]


def refuses_system(error: BaseException) -> bool:
    """Whether a server refused a request for its system message."""
    return _REFUSED.search(str(error)) is not None


@contextmanager
def joining_system(joins: bool) -> Iterator[None]:
    """Have adapters of ours join the system message to the first question inside."""
    token = _JOINED.set(joins)
    try:
        yield
    finally:
        _JOINED.reset(token)


def as_sent(messages: Messages) -> Messages:
    """Return messages as they are, or joined where the model takes no system message."""
    if not _JOINED.get() or len(messages) < 2 or messages[0]["role"] != "system":
        return messages
    said, first, *others = messages
    return [{**first, "content": _before(said["content"], first["content"])}, *others]


def _before(said: str, content: Any) -> Any:
    if isinstance(content, str):
        return f"{said}\n\n{content}"
    return [{"type": "text", "text": said}, *content]
