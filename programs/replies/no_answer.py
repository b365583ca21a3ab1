"""Recognizes texts that answer nothing, however long they are.

That is the prompt given back (its form, its labels, the question), words that only announce an
answer ("Sure! The answer is:"), and a program where none was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import regex

from ragwright.programs.replies.wanted import OutputField

_ECHOES = (
    "all interactions will be structured", "respond with the corresponding output fields",
    "your input fields are", "your output fields are",
    "respond with a json object in the following",
    "the value you produce must", "in adhering to this structure",
    "and nothing else: no labels, no explanation",
)  # fmt: skip
_FORM = re.compile(r"\b(?:in|out)put fields? (?:are|is)\b.*?\[\[", re.DOTALL)
"""What the prompt says of fields, in words of its own, and one of its markers after that."""
_SCHEMA_TYPES = ("string", "array", "integer", "number", "boolean", "object")
SCHEMA_KEYS = {"type", "description", "title", "items", "default", "desc", "enum"}
_CODE = (
    r"(?:import \w[\w., ]*\n|from [\w.]+ import |(?:async )?def \w+\(|class \w+[:(]"
    r"|#include|#!/)"
)
_NO_CODE = r"json|text|txt|markdown|md\b|xml|html|plain|ya?ml|toml|ini\b|tool_"
_PROGRAM = re.compile(
    rf"\A\s*(?:```(?!{_NO_CODE})[a-z+#]+[ \t]*\n\s*[^\s{{\[]"
    rf"|(?:```[ \t]*\n\s*)?{_CODE})",
    re.IGNORECASE,
)
_OTHER = r"(?:answer|response|reply|result|output|solution)"
_POLITE = r"(?:(?:sure|certainly|of course|okay|ok|yes|alright|absolutely)(?: thing)?[,.!:]*\s*)?"
_POINTS = r"(?:here(?: is|'s|\u2019s| are| you go| it is)|this is|below is)"
_WHOSE = r"(?:(?:the|my|your|a|an|final|short|brief|correct)\s+)*"
_OF = r"(?:\s+(?:to|for|of) (?:the|this|that|your) (?:\w+ )?question)?"
_VERB = r"(?:\s+(?:is|are|would be)(?:\s+as follows)?|\s+(?:follows|below))"
_TAIL = r"\s*[:\uff1a.\u2026*_-]*\s*"
_COLON = r"\s*[*_]*[:\uff1a\u2026][*_]*\s*"


def is_template(raw: Any, one: OutputField) -> bool:
    """Whether a value is nothing but the prompt's own form given back, or announces a value."""
    if isinstance(raw, Mapping):
        of_schema = one.is_text or raw.get("type") in _SCHEMA_TYPES
        return of_schema and "type" in raw and set(raw) <= SCHEMA_KEYS
    if raw is None:
        return one.required
    if not isinstance(raw, str):
        return False
    said = raw.strip()
    if "# note: the value you produce" in said:
        return True
    held = said.strip("\"'`, ")
    enclosed = held[:1] in "{<[(" and held[-1:] in "}>])"
    inner = held[1:-1] if enclosed else said
    # Signs alone may be an answer, as {} is of a question about Python; three dots are none.
    dots = bool(inner) and not inner.strip(".…\"'` ")
    bare = said.strip("{}<>[]() .…\"'*`").casefold()
    named = re.sub(r"[\W_]+", "", bare) == re.sub(r"[\W_]+", "", one.name.casefold())
    return bool(said) and (
        dots or (enclosed and named) or (one.is_text and announces_answer(said, one))
    )


def announces_answer(text: str, one: OutputField, *, begun: bool = False) -> bool:
    """Whether a text says that an answer follows, once or again and again, and none does.

    Args:
        text: What was said.
        one: The field whose value it is to be.
        begun: Ask whether it may come to this, if it goes on.
    """
    lead, said = _lead_in(one.name), text.strip("*_`#> \t\r\n")
    place, times = 0, 0
    while True:
        # A reply that says nothing else is cut off in the middle of it.
        if (begun or times > 1) and lead.fullmatch(said, place, partial=True):
            return True
        found = lead.match(said, place)
        if not found or found.end() == place or _within_word(said, found.end()):
            return times > 0 and place == len(said)
        place, times = found.end(), times + 1


def _within_word(text: str, place: int) -> bool:
    return text[place - 1 : place].isalnum() and text[place : place + 1].isalnum()


def is_echo(text: str, inputs: tuple[str, ...]) -> bool:
    """Whether a text is the prompt given back, by its sentences or by the labels of its inputs."""
    said = text.casefold()
    if any(echo in said for echo in _ECHOES) or _FORM.search(said):
        return True
    names = "|".join(re.escape(name.replace("_", " ")) for name in inputs)
    return bool(names) and re.match(rf"\W*(?:{names})\s*:\s*\n", said) is not None


def repeats_question(answer: Any, inputs: Mapping[str, Any]) -> bool:
    """Whether an answer is a question that was asked, word for word."""
    asked = (one for one in inputs.values() if isinstance(one, str) and one.strip().endswith("?"))
    said = _words(answer) if isinstance(answer, str) else []
    return bool(said) and any(said == _words(one) for one in asked)


def is_program(text: str) -> bool:
    """Whether a text begins as source code, in a fence or without."""
    return _PROGRAM.match(text) is not None


def _words(text: str) -> list[str]:
    said = re.findall(r"\w+", text.casefold())
    return said[1:] if said[:1] == ["question"] else said


@lru_cache(maxsize=256)
def _lead_in(name: str) -> regex.Pattern[str]:
    """Words that announce a field: they name it, or point ("Here it is:"), and end."""
    field = regex.escape(name.replace("_", " ")).replace(r"\ ", "[ _-]")
    ways = (
        rf"{_WHOSE}{field}{_OF}{_VERB}?{_TAIL}",
        rf"{_WHOSE}{_OTHER}{_OF}(?:{_VERB}{_TAIL}|{_COLON})",
        rf"{_POINTS}[,:.!]*\s+{_WHOSE}(?:{field}|{_OTHER}){_OF}{_TAIL}",
        rf"{_POINTS}\s*[:!\u2026]+\s*",
    )
    return regex.compile(rf"{_POLITE}(?:{'|'.join(ways)})", regex.IGNORECASE)
