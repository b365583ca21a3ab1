"""A language model in this process that answers every shape's fields, each by its type."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import dspy

from tests.optimize.scripted import Writing
from tests.servers.scripted_lm import Call, best_sentence, parse

Fields = Mapping[str, str]


def _asked(fields: Fields) -> str:
    return next((fields[one] for one in ("question", "claim", "topic") if fields.get(one)), "")


def _words(fields: Fields) -> list[str]:
    return [_asked(fields), _asked(fields).removesuffix("?").lower()]


READ = ("context", "passages", "passage", "notes", "summaries", "observation_0")
"""Where a shape puts what is to be read."""


def readable(call: Call) -> Call:
    """The same call, with all that is to be read as one numbered context."""
    texts = [text for name in READ for text in _texts(call.fields.get(name, ""))]
    numbered = "\n".join(f"[{n}] {text}" for n, text in enumerate(texts, 1))
    asked = _asked(call.fields)
    return replace(call, fields={**call.fields, "context": numbered, "question": asked})


def _texts(value: str) -> list[str]:
    try:
        listed = json.loads(value)
    except json.JSONDecodeError:
        return [part for part in re.split(r"\[(?:\d+)\] |\n", value) if part.strip(" «»")]
    return [str(one) for one in listed] if isinstance(listed, list) else [value]


def _query(fields: Fields) -> str:
    return f"{_asked(fields)} {best_sentence(fields)[1]}".strip()


def _number(fields: Fields) -> int:
    return best_sentence(fields)[0]


def _report(fields: Fields) -> dict[str, object]:
    number, sentence = best_sentence(fields)
    quotes = [{"passage": number, "text": sentence}]
    return {"answer": sentence, "certainty": "high", "quotes": quotes}


SAID: dict[str, Callable[[Fields], object]] = {
    **dict.fromkeys(("done", "relevant", "grounded", "faithful"), lambda fields: True),
    **dict.fromkeys(("search_query", "query", "thought", "better_question", "alone"), _query),
    **dict.fromkeys(("queries", "sub_questions", "headings"), _words),
    "entities": lambda fields: dict.fromkeys(_words(fields), "town99"),
    "verdict": lambda fields: "correct" if _number(fields) % 2 else "ambiguous",
    "topic": lambda fields: "charters" if "founded" in _asked(fields) else "rivers",
    "sources": lambda fields: [_number(fields) or 1],
    "score": _number,
    "report": _report,
    "tags": lambda fields: ["river"],
    "when": lambda fields: None,
    "calls": lambda fields: {"tool_calls": [{"name": "search", "args": {"query": _asked(fields)}}]},
    "advice": lambda fields: {"self": "Be short."},
    "next_tool_name": lambda fields: "finish" if "observation_0" in fields else "search",
    "next_tool_args": lambda fields: {} if "observation_0" in fields else {"query": _asked(fields)},
}
"""What is said for a field of a name, where it is not the answer."""


class Talking(Writing):
    """Says more than answers and instructions; never started as a server."""

    def _value(self, name: str, call: Call) -> object:
        return SAID[name](call.fields) if name in SAID else super()._value(name, call)


class TalkingLM(dspy.BaseLM):
    """Asks it without a connection between; counts how often."""

    def __init__(self) -> None:
        super().__init__(model="scripted/talking", temperature=0.0)
        self.talking = Talking()
        self.calls: list[Call] = []
        self._lock = threading.Lock()

    def forward(self, prompt: Any = None, messages: Any = None, **named: Any) -> Any:
        given = messages or [{"role": "user", "content": prompt}]
        call, as_json = parse({"messages": given, "model": self.model})
        with self._lock:
            self.calls.append(call)
        text = self.talking.reply(readable(call), as_json=as_json)
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        choices = [{"index": n, "message": message, "finish_reason": "stop"}
                   for n in range(named.get("n") or 1)]  # fmt: skip
        return {"object": "chat.completion", "model": self.model, "choices": choices,
                "usage": usage}  # fmt: skip

    async def aforward(self, *given: Any, **named: Any) -> Any:
        return self.forward(*given, **named)
