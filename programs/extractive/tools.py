"""Chooses the next tool call of an agent from the tools that its instructions name.

Only one thing is done honestly without a language model that reasons: look the question up once
with a tool that takes one text, then finish. Reads what `dspy.ReAct` writes.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

_TOOL = re.compile(r"^[ \t]*\(\d+\) (\w+)[,.](?s:.*?)It takes arguments (\{.*\})\.?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool's name and its arguments."""

    tool: str
    arguments: dict[str, str]


def next_call(instructions: str, question: str, *, looked: bool) -> ToolCall:
    """Return the first look-up with the question, or "finish" after one or where none can be.

    Args:
        instructions: The system message.
        question: The question.
        looked: Whether a tool was called before.
    """
    for name, written in () if looked else _TOOL.findall(instructions):
        text = _only_text(_arguments(written))
        if name != "finish" and text:
            return ToolCall(name, {text: question})
    return ToolCall("finish", {})


def _arguments(written: str) -> dict[str, object]:
    try:
        read = ast.literal_eval(written)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return {}
    return read if isinstance(read, dict) else {}


def _only_text(arguments: dict[str, object]) -> str:
    """Return the argument that takes the question: the only required one, a text."""
    required = [
        name
        for name, kind in arguments.items()
        if not (isinstance(kind, dict) and "default" in kind)
    ]
    texts = [
        name
        for name in required
        if isinstance(kind := arguments[name], dict) and kind.get("type", "string") == "string"
    ]
    return texts[0] if len(required) == len(texts) == 1 else ""
