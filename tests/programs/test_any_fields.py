"""Fields of anybody's signature, written in the ways of many models: all are read, none is shown.

`reply_styles` writes one answer with its citations in every way; here it is any fields, of any
types, in the ways that say nothing of what they are.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from typing import Any

import dspy
import pydantic
import pytest

from ragwright.programs.replies.partial import certain_beginning
from ragwright.programs.replies.reader import read_reply
from ragwright.programs.replies.wanted import output_fields
from ragwright.programs.signatures import AnswerWithCitations

Values = Mapping[str, Any]
Way = Callable[[Values], str]
DSML = "\uff5cDSML\uff5c"


class Person(pydantic.BaseModel):
    name: str
    age: int


WANTED: dict[str, tuple[Any, Values]] = {
    "an answer": (AnswerWithCitations,
                  {"answer": "It has 30 days, all paid.", "citations": [1, 2]}),
    "two texts": (dspy.Signature("document -> headline, summary"),
                  {"headline": "Leave grows", "summary": "Thirty days from May on."}),
    "two words each": (dspy.Signature("question -> search_query, final_verdict"),
                       {"search_query": "days of leave", "final_verdict": "It stands."}),
    "yes and why": (dspy.Signature("claim -> supported: bool, because: str"),
                    {"supported": True, "because": "Passage 2 says it."}),
    "a choice": (dspy.Signature("text -> label: Literal['good', 'bad'], score: float"),
                 {"label": "bad", "score": 0.25}),
    "a list": (dspy.Signature("question -> queries: list[str]"),
               {"queries": ["days of leave", "paid leave"]}),
    "a number": (dspy.Signature("question -> count: int, unit"), {"count": 30, "unit": "days"}),
    "by name": (dspy.Signature("text -> facts: dict[str, str]"),
                {"facts": {"leave": "30 days", "pay": "full"}}),
    "an object": (dspy.Signature("text -> person: Person, place", custom_types={"Person": Person}),
                  {"person": {"name": "Ada", "age": 36}, "place": "London"}),
}  # fmt: skip


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def chat(values: Values, before: str = "[[ ## ", after: str = " ## ]]") -> str:
    blocks = [f"{before}{name}{after}\n{text_of(value)}" for name, value in values.items()]
    return "\n\n".join([*blocks, f"{before}completed{after}"])


def lines(before: str, after: str, between: str = "\n") -> Way:
    """A line for each field; @ stands for its number."""

    def way(values: Values) -> str:
        return between.join(
            f"{before}{name}{after}{text_of(value)}".replace("@", str(number), 1)
            for number, (name, value) in enumerate(values.items(), 1)
        )

    return way


def as_yaml(values: Values) -> str:
    said = ""
    for name, value in values.items():
        items = ([f"\n  - {item}" for item in value] if isinstance(value, list) else
                 [f"\n  {key}: {item}" for key, item in value.items()]
                 if isinstance(value, dict) else [f" {text_of(value)}"])  # fmt: skip
        said += f"{name}:{''.join(items)}\n"
    return said


def described(key: str) -> Way:
    """Each value within its own JSON schema."""
    return lambda values: json.dumps({"type": "object", "properties": {
        name: {"type": "string", key: value} for name, value in values.items()}})  # fmt: skip


def named(call: str, between: str = "=", after: str = ")") -> Way:
    return lambda values: call + ", ".join(
        f"{name}{between}{value!r}" for name, value in values.items()
    ) + after  # fmt: skip


def within(sign: str) -> Way:
    """A sign that nobody sees, in every marker."""
    return lambda values: chat(values, f"[{sign}[ ##{sign} ", f" {sign}## ]{sign}]{sign}")


def dumped(values: Any) -> str:
    return json.dumps(values)


WAYS: dict[str, Way] = {
    "chat": chat,
    "JSON": dumped,
    "the prompt first": lambda v: (
        "Your output fields are:\n1. `x` (str):\nAll interactions will be structured so:\n\n"
        + chat({name: f"{{{name}}}" for name in v}) + "\n\n" + chat(v)),
    "sure": lambda v: "Sure! Here is the response in the requested format:\n\n" + chat(v),
    "sure, JSON": lambda v: f"Sure! Here it is:\n\n```json\n{json.dumps(v, indent=1)}\n```\nBye!",
    "a table": lambda v: f"| {' | '.join(v)} |\n|{'---|' * len(v)}\n| "
                         f"{' | '.join(map(text_of, v.values()))} |",
    "an upright table": lambda v: "| **Field** | **Value** |\n|:---|:---|\n" + "\n".join(
        f"| **{name}** | {text_of(value)} |" for name, value in v.items()),
    "a table without edges": lambda v: f"{' | '.join(v)}\n{' | '.join('---' for _ in v)}\n"
                                       f"{' | '.join(map(text_of, v.values()))}",
    "a table of a page": lambda v: "<table>" + "".join(
        f"<tr><td>{name}</td><td>{text_of(value)}</td></tr>" for name, value in v.items()
    ) + "</table>",
    "encoded twice": lambda v: json.dumps(dumped(v)),
    "encoded three times": lambda v: json.dumps(json.dumps(dumped(v))),
    "encoded twice, fenced": lambda v: f"```json\n{json.dumps(dumped(v))}\n```",
    "escaped": lambda v: dumped(v).replace('"', '\\"'),
    "values encoded": lambda v: dumped({name: text_of(value) for name, value in v.items()}),
    "entities": lambda v: html.escape(chat(v)),
    "entities, JSON": lambda v: html.escape(dumped(v)),
    "entities by number": lambda v: dumped(v).replace('"', "&#34;"),
    "entities in markers": lambda v: chat(v, "&#91;&#91; &#35;&#35; ", " &#35;&#35; &#93;&#93;"),
    "entities, tags": lambda v: "".join(
        html.escape(f"<{n}>{text_of(x)}</{n}>") for n, x in v.items()),
    "line ends of Windows": lambda v: chat(v).replace("\n", "\r\n"),
    "line ends of Windows, lines": lines("", ": ", "\r\n"),
    "old line ends": lambda v: chat(v).replace("\n", "\r"),
    "line ends twice": lambda v: chat(v).replace("\n", "\r\r\n"),
    "other line ends": lambda v: chat(v).replace("\n", "\u2028"),
    "line ends spelled": lambda v: chat(v).replace("\n", "\\n"),
    **{f"unseen, {ord(sign):x}": within(sign)
       for sign in "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202a\u2069"},
    "unseen in names": lambda v: chat({f"{n[:2]}\u200b{n[2:]}": x for n, x in v.items()}),
    "wide markers": lambda v: chat(v, "\uff3b\uff3b \uff03\uff03 ", " \uff03\uff03 \uff3d\uff3d"),
    "wide colon": lines("", "\uff1a"),
    "wide brackets": lines("\u3010", "\u3011"),
    "wide brackets, a line each": lines("\u3010", "\u3011\n"),
    "corners": lines("\u300c", "\u300d\uff1a"),
    "numbered": lines("@. ", ": "),
    "numbered in brackets": lines("(@) ", ": "),
    "numbered and bold": lines("**@. ", ":** "),
    "numbered in bold headings": lines("### **@. ", "**\n", "\n\n"),
    "numbered markers": lines("@. [[ ## ", " ## ]]\n"),
    "numbers in markers": lines("[[ ## @. ", " ## ]]\n"),
    "letters": lines("a. ", ": "),
    "pictures": lines("\u2705 **", "**: "),
    "pictures in headings": lines("### \U0001f4dd ", "\n"),
    "markers say output": lines("[[ ## output: ", " ## ]]\n"),
    "markers say field": lines("[[ ## field: ", " ## ]]\n"),
    "markers closed": lambda v: "\n".join(
        f"[[ ## {name} ## ]]{text_of(value)}[[ ## /{name} ## ]]" for name, value in v.items()),
    "fenced each": lambda v: "\n\n".join(
        f"[[ ## {name} ## ]]\n```\n{text_of(value)}\n```" for name, value in v.items()),
    "labelled each": lambda v: chat({n: f"{n}: {text_of(x)}" for n, x in v.items()}),
    "arrows": lines("", " => "),
    "two colons": lines("", ":: "),
    "YAML": as_yaml,
    "YAML, fenced": lambda v: f"```yaml\n{as_yaml(v)}```",
    "YAML, a document": lambda v: f"---\n{as_yaml(v)}...",
    "YAML, quoted": lambda v: "\n".join(f"{name}: {value!r}" for name, value in v.items()),
    "tags": lambda v: "\n".join(f"<{n}>{text_of(x)}</{n}>" for n, x in v.items()),
    "tags of items": lambda v: "\n".join(
        f"<{n}>{''.join(f'<item>{i}</item>' for i in x) if isinstance(x, list) else text_of(x)}"
        f"</{n}>" for n, x in v.items()),
    "a schema with values": lambda v: dumped({"properties": v}),
    "described values": described("value"),
    "constants": described("const"),
    "a schema first": lambda v: dumped(
        {"properties": {name: {"type": "string"} for name in v}}) + dumped(v),
    "a value each": lambda v: dumped({name: {"value": value} for name, value in v.items()}),
    "named values": lambda v: dumped([{"field": n, "value": x} for n, x in v.items()]),
    "within": lambda v: dumped({"result": {"data": v}}),
    "within, as text": lambda v: dumped({"response": dumped(v)}),
    "within, chat": lambda v: dumped({"response": chat(v)}),
    "within, parts": lambda v: dumped({"content": [{"type": "text", "text": chat(v)}]}),
    "within, the whole body": lambda v: dumped(
        {"choices": [{"message": {"role": "assistant", "content": chat(v)}}]}),
    "a call": named("respond("),
    "a call by place": lambda v: f"respond({', '.join(map(repr, v.values()))})",
    "a call by place, printed": lambda v: f"print(answer({', '.join(map(repr, v.values()))}))"
                                if "answer" in v else named("print(respond(", after="))")(v),
    "a dictionary": repr,
    "a dictionary with None": lambda v: repr({**v, "notes": None, "sure": True}),
    "a dictionary, assigned": lambda v: f"const output = {dumped(v)};",
    "DSPy's prediction": named("Prediction(\n    ", after=",\n)"),
    "channels": lambda v: "<|channel|>analysis<|message|>Hm, x?<|end|><|start|>assistant"
                          f"<|channel|>final<|message|>{chat(v)}<|return|>",
    "a tool of Mistral's": lambda v: "[TOOL_CALLS] " + json.dumps([{"name": "x", "arguments": v}]),
    "a tool of Llama's": named("<|python_tag|>respond.call(", after=")<|eom_id|>"),
    "a tool of DeepSeek's": lambda v: (
        "<\uff5ctool▁calls▁begin\uff5c><\uff5ctool▁call▁begin\uff5c>respond<\uff5ctool▁sep\uff5c>"
        f"{dumped(v)}<\uff5ctool▁call▁end\uff5c><\uff5ctool▁calls▁end\uff5c>"),
    "a later tool of DeepSeek's": lambda v: (
        f'<{DSML}function_calls>\n<{DSML}invoke name="respond">\n' + "\n".join(
            f'<{DSML}parameter name="{n}" string="true">{text_of(x)}</{DSML}parameter>'
            for n, x in v.items())
        + f"\n</{DSML}invoke>\n</{DSML}function_calls>"),
    "a thought that was begun before": lambda v: f"Perhaps it is x.\n</think>\n\n{chat(v)}",
    "thoughts between": lambda v: "\n\n".join(
        f"<think>on {n}</think>\n[[ ## {n} ## ]]\n{text_of(x)}" for n, x in v.items()),
    "a thought to be opened": lambda v: "<details><summary>Hm</summary>\nx\n</details>\n" + chat(v),
    "an event": lambda v: f"data: {dumped(v)}\n\ndata: [DONE]",
}  # fmt: skip
SHOWN = {"an answer": "answer", "two texts": "summary", "yes and why": "because"}


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("way", WAYS)
def test_all_fields_are_read(way: str, wanted: str) -> None:
    signature, values = WANTED[wanted]
    found = read_reply(WAYS[way](values), output_fields(signature)).values
    given = {name: value.model_dump() if isinstance(value, pydantic.BaseModel) else value
             for name, value in found.items()}  # fmt: skip
    assert given == values


@pytest.mark.parametrize("way", WAYS)
def test_what_is_streamed_begins_the_value(way: str) -> None:
    for wanted, name in SHOWN.items():
        signature, values = WANTED[wanted]
        text = WAYS[way](values)
        for end in range(len(text) + 1):
            shown = certain_beginning(text[:end], output_fields(signature), name)
            assert values[name].startswith(shown), text[:end]


@pytest.mark.parametrize(
    "said",
    [
        "Write `&amp;` for &.", "&pound;30", "می\u200cروم", "\U0001f468\u200d\U0001f469 at home",
        'C:\\new\\table', "print('hello')", "f(x) = 2", "(a) wait; (b) see: sign", "H. Answers",
        "| is a pipe", "1. answerable: no", "x | y", "[1, 2] and 3", "answer me this",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_left_as_it_is(said: str) -> None:
    wanted = output_fields(AnswerWithCitations)
    for text in (said, chat({"answer": said, "citations": [1]})):
        assert read_reply(text, wanted).values["answer"] == said
