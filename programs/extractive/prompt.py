"""A DSPy prompt in, its fields out; field values in, a completion that DSPy parses out.

Reads what `ChatAdapter` and `JSONAdapter` write: `[[ ## name ## ]]` blocks, wanted outputs after
"Respond with", demonstrations as earlier user/assistant pairs. Knows nothing of how a value is
found, and reads no instructions. A block starts only at the beginning of a line, where the text of
a list of passages never stands: a passage cannot pose as a field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dspy.lm15 import InvalidRequestError, Message, Request

_HEADER = re.compile(r"^\[\[ ## (\w+) ## \]\][ \t]*$", re.MULTILINE)
_WANTED_CHAT = re.compile(r"^Respond with the corresponding output fields, ", re.MULTILINE)
_WANTED_JSON = re.compile(r"^Respond with a JSON object in the following order", re.MULTILINE)
_FIELD = re.compile(
    r"`(?:\[\[ ## )?(\w+)(?: ## \]\])?`"
    r"(?: \(must be formatted as a valid Python (.+?)\)(?=, |\.$))?"
)
_ITEM = re.compile(r"^(?:\[\d+\] )?(?:«««\n(.*?)\n»»»|«(.*?)»)$", re.MULTILINE | re.DOTALL)
_MISSING = "Not supplied for this"
_QUESTION_NAMES = ("question", "query")
_PASSAGE_NAMES = ("context", "passages")


@dataclass(frozen=True, slots=True)
class Field:
    """A wanted output: its name, and its type as DSPy writes it (`str` when it writes none)."""

    name: str
    annotation: str


@dataclass(frozen=True, slots=True)
class Demo:
    """One demonstration: a question, and the outputs that were supplied for it."""

    question: str
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a request asks for.

    Attributes:
        question: The text of the question field; empty if there is none.
        passages: The passages in order, or None if the signature has no such field.
        wanted: The output fields, in order.
        demos: The demonstrations, in order.
        as_json: Whether the completion must be a JSON object.
    """

    question: str
    passages: tuple[str, ...] | None
    wanted: tuple[Field, ...]
    demos: tuple[Demo, ...]
    as_json: bool


def parse_prompt(request: Request) -> Prompt:
    """Read the fields of a request.

    Raises:
        dspy.lm15.InvalidRequestError: The last message is not one that DSPy's chat or JSON adapter
            writes.
    """
    last = _text(request.messages[-1])
    start, as_json = _requirements(last)
    inputs = _blocks(last[:start])
    wanted = tuple(
        Field(name, annotation or "str")
        for name, annotation in _FIELD.findall(last[start:])
        if name != "completed"
    )
    if not inputs or not wanted:
        raise _unreadable("it has no input field, or no output field")
    passages_name = _passages_name(inputs)
    passages = None if passages_name is None else _items(inputs[passages_name])
    return Prompt(
        question=_question(inputs, passages_name),
        passages=passages,
        wanted=wanted,
        demos=_demos(request.messages[:-1]),
        as_json=as_json,
    )


def render(values: Mapping[str, object], *, as_json: bool) -> str:
    """Write output values in the form the adapter of the prompt expects."""
    if as_json:
        return json.dumps(dict(values), ensure_ascii=False)
    # A value that looks like a header would end its own field.
    blocks = [
        f"[[ ## {name} ## ]]\n{_plain(value).replace('[[ ##', '[ ##')}"
        for name, value in values.items()
    ]
    return "\n\n".join([*blocks, "[[ ## completed ## ]]"])


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def _text(message: Message) -> str:
    return message.text or ""


def _requirements(text: str) -> tuple[int, bool]:
    """Return where the wanted outputs are named, and whether they are wanted as JSON."""
    chat = [match.start() for match in _WANTED_CHAT.finditer(text)]
    as_json = [match.start() for match in _WANTED_JSON.finditer(text)]
    if not chat and not as_json:
        raise _unreadable("it does not say which fields to respond with")
    start = max(chat + as_json)
    return start, start in as_json


def _blocks(text: str) -> dict[str, str]:
    pieces = _HEADER.split(text)
    blocks: dict[str, str] = {}
    for name, value in zip(pieces[1::2], pieces[2::2], strict=True):
        blocks.setdefault(name, value.strip())
    return blocks


def _outputs(text: str) -> dict[str, str]:
    blocks = _blocks(text)
    if not blocks and text.lstrip().startswith("{"):
        try:
            loaded = json.loads(text)
        except ValueError:
            return {}
        blocks = {name: value if isinstance(value, str) else "" for name, value in loaded.items()}
    return {name: value for name, value in blocks.items() if _MISSING not in value}


def _demos(messages: Sequence[Message]) -> tuple[Demo, ...]:
    demos: list[Demo] = []
    question = ""
    for message in messages:
        if message.role == "user":
            inputs = _blocks(_WANTED_CHAT.split(_WANTED_JSON.split(_text(message))[0])[0])
            question = _question(inputs, _passages_name(inputs))
        elif message.role == "assistant" and (outputs := _outputs(_text(message))):
            demos.append(Demo(question, outputs))
    return tuple(demos)


def _passages_name(inputs: Mapping[str, str]) -> str | None:
    named = (name for name in _PASSAGE_NAMES if name in inputs)
    listed = (name for name, value in inputs.items() if _is_list(value))
    return next(named, None) or next(listed, None)


def _question(inputs: Mapping[str, str], passages_name: str | None) -> str:
    others = [name for name in inputs if name != passages_name]
    named = (name for name in _QUESTION_NAMES if name in others)
    name = next(named, others[-1] if others else None)
    return inputs[name] if name else ""


def _is_list(value: str) -> bool:
    return _json_list(value) is not None or bool(_ITEM.match(value))


def _json_list(value: str) -> list[object] | None:
    if not value.startswith("["):
        return None
    try:
        loaded = json.loads(value)
    except ValueError:
        return None
    return loaded if isinstance(loaded, list) else None


def _items(value: str) -> tuple[str, ...]:
    """Split the value of a list field: a JSON list, `[1] «...»` lines, or else one plain text."""
    loaded = _json_list(value)
    if loaded is not None:
        return tuple(str(item) for item in loaded)
    items = tuple(
        long.replace("\n    ", "\n").strip() or short for long, short in _ITEM.findall(value)
    )
    return items or (() if value in ("", "N/A") else (value,))


def _unreadable(why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The extractive model cannot read this prompt: {why}. It answers only prompts written by "
        "dspy.ChatAdapter or dspy.JSONAdapter; use another language model for anything else.",
        provider="local",
    )
