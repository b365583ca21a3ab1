"""Reads the fields of a DSPy prompt, and writes values as a completion that DSPy parses.

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
from typing import Any

from dspy.lm15 import InvalidRequestError, Message, Request

_HEADER = re.compile(r"^\[\[ ## (\w+) ## \]\][ \t]*$", re.MULTILINE)
_WANTED_CHAT = re.compile(r"^Respond with the corresponding output fields, ", re.MULTILINE)
_WANTED_JSON = re.compile(r"^Respond with a JSON object in the following order", re.MULTILINE)
_FIELD = re.compile(
    r"`(?:\[\[ ## )?(\w+)(?: ## \]\])?`"
    r"(?: \(must be formatted as a valid Python (.+?)\)(?=, then |, and then |\.\s*$))?"
)
_NOTE = re.compile(r"^\{(\w+)\} {8}# note: the value you produce must (.+)$", re.MULTILINE)
_NOTE_IN_JSON = re.compile(r'^[ \t]*"\w+": ("\{(?:[^"\\]|\\.)*"),?$', re.MULTILINE)
_SCHEMA = "adhere to the JSON schema: "
_ONE_OF = "be one of: "
_NAME = re.compile(r"[A-Za-z_]\w*")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_KNOWN = frozenset({
    "str", "bool", "int", "float", "list", "List", "set", "dict", "Dict", "Literal", "Union",
    "Optional", "NoneType", "None", "Any", "Sequence", "Reasoning",
})  # fmt: skip
_ITEM = re.compile(r"^(?:\[\d+\] )?(?:«««\n(.*?)\n»»»|«(.*?)»)$", re.MULTILINE | re.DOTALL)
_MISSING = "Not supplied for this"
_QUESTION_NAMES = ("question", "query")
_PASSAGE_NAMES = ("context", "contexts", "passage", "passages", "document", "documents", "articles")
_LONG_WORDS = 25
_OBSERVED = re.compile(r"^observation_\d+$")
_OF_AGENT = re.compile(r"^(?:(?:thought|tool_name|tool_args|observation)_\d+|trajectory)$")


@dataclass(frozen=True, slots=True)
class RequestedField:
    """A wanted output.

    Attributes:
        name: Its name.
        annotation: Its type as DSPy writes it (`str` when it writes none).
        schema: The JSON schema it must adhere to, where its type is no plain Python type.
        choices: What an enumeration allows.
    """

    name: str
    annotation: str
    schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Demo:
    """One demonstration: a question, and the outputs that were supplied for it."""

    question: str
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ParsedPrompt:
    """What a request asks for.

    Attributes:
        question: The text of the question field; empty if there is none.
        passages: The passages in order, or None if the signature has no such field.
        others: The other inputs, by name.
        instructions: The system message.
        wanted: The output fields, in order.
        demos: The demonstrations, in order.
        as_json: Whether the completion must be a JSON object.
    """

    question: str
    passages: tuple[str, ...] | None
    wanted: tuple[RequestedField, ...]
    demos: tuple[Demo, ...]
    as_json: bool
    others: Mapping[str, str]
    instructions: str


def parse_prompt(request: Request) -> ParsedPrompt:
    """Read the fields of a request.

    Raises:
        dspy.lm15.InvalidRequestError: The last message is not one that DSPy's chat or JSON adapter
            writes.
    """
    last = _text(request.messages[-1])
    start, as_json = _requirements(last)
    inputs = _blocks(last[:start])
    instructions = _system(request)
    wanted = _wanted(last[start:], _notes(instructions))
    if not inputs or not wanted:
        raise _unreadable("it has no input field, or no output field")
    read_from = _passage_names(inputs)
    question = _question_name(inputs, read_from)
    passages = tuple(item for name in read_from for item in _items(inputs[name]))
    return ParsedPrompt(
        question=inputs.get(question, ""),
        passages=passages if read_from else None,
        wanted=wanted,
        demos=_demos(request.messages[:-1]),
        as_json=as_json,
        others={
            name: value
            for name, value in inputs.items()
            if name != question and name not in read_from
        },
        instructions=instructions,
    )


def _wanted(text: str, notes: Mapping[str, str]) -> tuple[RequestedField, ...]:
    return tuple(
        _field(name, annotation or "str", notes.get(name, ""))
        for name, annotation in _FIELD.findall(text)
        if name != "completed"
    )


def _notes(instructions: str) -> dict[str, str]:
    """Return what is noted about each field's values, as the chat and the JSON adapter write it."""
    in_json = [json.loads(text) for text in _NOTE_IN_JSON.findall(instructions)]
    return dict(_NOTE.findall("\n".join([instructions, *in_json])))


def _field(name: str, annotation: str, note: str) -> RequestedField:
    """Take a type that is none of Python's own from what is noted about its values."""
    if note.startswith(_ONE_OF):
        return RequestedField(name, annotation, None, tuple(note.removeprefix(_ONE_OF).split("; ")))
    if note.startswith(_SCHEMA) and not set(_NAME.findall(_QUOTED.sub("", annotation))) <= _KNOWN:
        try:
            schema = json.loads(note.removeprefix(_SCHEMA))
        except (ValueError, RecursionError):
            schema = None
        return RequestedField(name, annotation, schema if isinstance(schema, dict) else None)
    return RequestedField(name, annotation)


def _system(request: Request) -> str:
    system = request.system or ""
    if isinstance(system, str):
        return system
    return "\n".join(str(getattr(part, "text", "")) for part in system)


def render_reply(values: Mapping[str, object], *, as_json: bool) -> str:
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
    if isinstance(value, list | dict) or value is None:
        return json.dumps(value, ensure_ascii=False)
    return str(value)


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
        except (ValueError, RecursionError):
            return {}
        blocks = {name: value if isinstance(value, str) else "" for name, value in loaded.items()}
    return {name: value for name, value in blocks.items() if _MISSING not in value}


def _demos(messages: Sequence[Message]) -> tuple[Demo, ...]:
    demos: list[Demo] = []
    question = ""
    for message in messages:
        if message.role == "user":
            inputs = _blocks(_WANTED_CHAT.split(_WANTED_JSON.split(_text(message))[0])[0])
            question = inputs.get(_question_name(inputs, _passage_names(inputs)), "")
        elif message.role == "assistant" and (outputs := _outputs(_text(message))):
            demos.append(Demo(question, outputs))
    return tuple(demos)


def _passage_names(inputs: Mapping[str, str]) -> tuple[str, ...]:
    """Return the inputs that are read: passages, any list, what an agent saw, or a long text."""
    named = [name for name in inputs if name.lower() in _PASSAGE_NAMES]
    listed = [name for name, value in inputs.items() if _is_list(value)]
    seen = [name for name in inputs if _OBSERVED.match(name)]
    if found := named or listed[:1] or seen:
        return tuple(found)
    others = {
        name: value
        for name, value in inputs.items()
        if name.lower() not in _QUESTION_NAMES and len(value.split()) >= _LONG_WORDS
    }
    longest = max(others, key=lambda name: len(others[name]), default=None)
    return (longest,) if longest is not None and len(inputs) > 1 else ()


def _question_name(inputs: Mapping[str, str], read_from: Sequence[str]) -> str:
    others = [name for name in inputs if name not in read_from and not _OF_AGENT.match(name)]
    named = [name for name in others if name.lower() in _QUESTION_NAMES]
    asking = [name for name in others if inputs[name].endswith(("?", "\uff1f"))]
    return (named or asking or others[-1:] or [""])[0]


def _is_list(value: str) -> bool:
    return _json_list(value) is not None or bool(_ITEM.match(value))


def _json_list(value: str) -> list[object] | None:
    if not value.startswith("["):
        return None
    try:
        loaded = json.loads(value)
    except (ValueError, RecursionError):
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
