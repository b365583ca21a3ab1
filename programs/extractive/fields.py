"""Fills a wanted field with a value of its type, from what was found in the passages.

A field is filled by what its name and type ask for; a type that nothing found can fill gets an
empty value of that type, so that a reply is always readable. Types are read as DSPy writes them
into a prompt: Python annotations, or JSON schemas for anything else. Knows no passages.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ragwright.programs.extractive.form import question_similarity
from ragwright.programs.extractive.prompt import Demo, RequestedField
from ragwright.programs.extractive.text import NEGATIONS, content_stems, split_words

NO_ANSWER = "I don't know"
PLAUSIBLE = 0.5

_ANSWERS = frozenset({
    "answer", "response", "result", "output", "reply", "final_answer", "short_answer", "prediction",
    "solution", "completion",
})  # fmt: skip
_SENTENCES = frozenset({
    "reasoning", "rationale", "explanation", "evidence", "quote", "quotes", "sentence", "passage",
    "note", "notes", "summary", "justification", "thought", "next_thought", "query", "queries",
    "search_query", "standalone", "support", "snippet", "highlights",
})  # fmt: skip
_SHARES = frozenset({"confidence", "certainty", "probability", "relevance", "likelihood"})
_SUPPORTED = frozenset({
    "enough", "supported", "answerable", "answered", "found", "sufficient", "grounded", "relevant",
    "is_relevant", "faithful", "correct", "is_answerable", "has_answer", "done",
})  # fmt: skip
_CITED = frozenset({"citations", "citation", "sources", "source", "references"})
_NEITHER = ("other", "unknown", "none", "neutral", "n/a", "unclear", "not")
_NUMBER = re.compile(
    r"([-+]?\d[\d,]*(?:\.\d+)?)(?:\s+(thousand|million|billion|trillion)\b)?", re.I
)
_TIMES = {"": 1.0, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_SEQUENCES = ("list", "List", "tuple", "set", "Sequence", "frozenset")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in the passages.

    Attributes:
        answer: The answer in the form that the demonstrations show, or `NO_ANSWER`.
        sentence: The sentence it stands in; the question if there were no passages.
        passages: Passage numbers, the answer's own first, then by what else they may hold.
        confidence: In [0, 1]: how likely the answer is right.
        found: Whether there is an answer.
    """

    answer: str
    sentence: str
    passages: tuple[int, ...]
    confidence: float
    found: bool = True


@dataclass(frozen=True, slots=True)
class FieldContext:
    """What a field is filled from, besides the finding.

    Attributes:
        question: The question.
        inputs: All the other inputs, by name.
        demos: The demonstrations.
        main: The name of the field that takes the answer.
    """

    question: str
    inputs: Mapping[str, str]
    demos: Sequence[Demo]
    main: str


def main_field(wanted: Sequence[RequestedField]) -> str:
    """Return the name of the field that takes the answer; "" if none does."""
    named = [one.name for one in wanted if one.name.lower() in _ANSWERS]
    texts = [
        one.name
        for one in wanted
        if one.annotation == "str" and one.name.lower() not in _SENTENCES | _CITED
    ]
    return (named or texts[-1:] or [""])[0]


def field_value(field: RequestedField, finding: Finding, asked: FieldContext) -> object:
    """Return a value of the field's type."""
    if field.schema:
        return _of_schema(field.schema, field.name, finding, asked)
    if field.choices:
        return choose_option(field.name, field.choices, finding, asked)
    try:
        annotation = ast.parse(field.annotation, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _text(field.name, finding, asked)
    return _of_type(annotation, field.name, finding, asked)


def _of_type(node: ast.expr, name: str, finding: Finding, asked: FieldContext) -> object:
    if isinstance(node, ast.Subscript):
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _of_generic(_name(node.value), inside, name, finding, asked)
    return _of_plain(_name(node), name, finding, asked)


def _of_generic(
    kind: str, inside: Sequence[ast.expr], name: str, finding: Finding, asked: FieldContext
) -> object:
    if kind == "Literal":
        options = [one.value for one in inside if isinstance(one, ast.Constant)]
        return choose_option(name, options, finding, asked)
    if kind == "tuple" and not any(ast.unparse(one) in ("...", "Ellipsis") for one in inside):
        return [_of_type(one, name, finding, asked) for one in inside]
    if kind in _SEQUENCES:
        return _several(inside[0], name, finding, asked)
    if kind in ("Union", "Optional"):
        arms = [one for one in inside if _name(one) not in ("NoneType", "None")]
        return _of_type(arms[0], name, finding, asked) if arms else None
    return {}


def _several(inside: ast.expr, name: str, finding: Finding, asked: FieldContext) -> list[object]:
    if _name(inside) == "int":
        return list(finding.passages[: 1 if name.lower() in _CITED else None])
    if name.lower() in _CITED:
        return [str(number) for number in finding.passages[:1]]
    if not finding.found and name.lower() not in _SENTENCES:
        return []
    return [_of_type(inside, name, finding, asked)]


def _of_plain(kind: str, name: str, finding: Finding, asked: FieldContext) -> object:
    by_type: dict[str, Callable[[], object]] = {
        "bool": lambda: _truth(name, finding, asked),
        "int": lambda: int(_number(name, finding)),
        "float": lambda: _number(name, finding),
        "list": lambda: _several(ast.Name("str"), name, finding, asked),
        "dict": dict,
        "NoneType": lambda: None,
    }
    return by_type.get(kind, lambda: _text(name, finding, asked))()


def _text(name: str, finding: Finding, asked: FieldContext) -> str:
    if name.lower() in _CITED:
        return ", ".join(str(number) for number in finding.passages[:1])
    return finding.answer if name == asked.main else finding.sentence


def _number(name: str, finding: Finding) -> float:
    """Return a share as the confidence, any other number as the first one of the answer."""
    if name.lower() in _SHARES:
        return finding.confidence
    for text in (finding.answer, finding.sentence) if finding.found else ():
        if match := _NUMBER.search(text):
            return float(match[1].replace(",", "")) * _TIMES[(match[2] or "").lower()]
    return float(finding.confidence >= PLAUSIBLE)


def _truth(name: str, finding: Finding, asked: FieldContext) -> bool:
    """Say whether there is an answer; of any other quality, whether the inputs name it.

    A demonstration to a question much like this one is followed.
    """
    if name.lower() in _SUPPORTED:
        return finding.found and finding.confidence >= PLAUSIBLE
    words = content_stems(name.lower().removeprefix("is_").removeprefix("has_").replace("_", " "))
    told = _demonstrated(name, asked)
    if told in ("true", "false"):
        return told == "true"
    given = [asked.question, *asked.inputs.values()]
    return bool(words) and any(_affirms(text, words) for text in given)


def _affirms(text: str, words: frozenset[str]) -> bool:
    """Whether a text names a quality, and no negation stands before it."""
    found = split_words(text)
    for place, word in enumerate(found):
        if word.stem in words:
            return not any(
                one.text.lower() in NEGATIONS for one in found[max(0, place - 3) : place]
            )
    return False


def choose_option(
    name: str, options: Sequence[Any], finding: Finding, asked: FieldContext
) -> object:
    """Choose the option that the answer, the question or the sentence names first.

    If they name none, a demonstration to a question much like this one is followed; otherwise an
    option that says that none fits, and the first if there is no such option.
    """
    texts = [finding.answer if finding.found else "", asked.question, *asked.inputs.values()]
    for text in (*texts, finding.sentence):
        stems = content_stems(text.replace("_", " "))
        for option in options:
            words = content_stems(str(option).lower().replace("_", " "))
            if words and words <= stems:
                return option
    told = _demonstrated(name, asked)
    for option in options:
        if str(option).lower() == told:
            return option
    for option in options:
        if str(option).lower().startswith(_NEITHER):
            return option
    return options[0] if options else ""


def _demonstrated(name: str, asked: FieldContext) -> str:
    """Return what the demonstration with the most similar question says, in lower case."""
    told = [
        (question_similarity(asked.question, demo.question), demo.outputs[name])
        for demo in asked.demos
        if demo.outputs.get(name)
    ]
    return max(told, key=lambda one: one[0])[1].strip().lower() if told else ""


def _of_schema(
    schema: Mapping[str, Any], name: str, finding: Finding, asked: FieldContext
) -> object:
    """Return a value that a JSON schema allows: what it requires, and nothing more."""
    return _Schema(schema.get("$defs", {}), finding, asked).value(schema, name)


@dataclass(frozen=True, slots=True)
class _Schema:
    defined: Mapping[str, Any]
    finding: Finding
    asked: FieldContext

    def value(self, part: Mapping[str, Any], name: str, depth: int = 0) -> object:
        if "$ref" in part:
            part = self.defined.get(str(part["$ref"]).rpartition("/")[2], {})
        if "default" in part:
            return part["default"]
        if "enum" in part or "const" in part:
            options = part.get("enum") or [part["const"]]
            return choose_option(name, options, self.finding, self.asked)
        if arms := part.get("anyOf") or part.get("oneOf") or part.get("allOf"):
            return self.value(arms[0], name, depth)
        return self._of_kind(part, name, depth)

    def _of_kind(self, part: Mapping[str, Any], name: str, depth: int) -> object:
        if part.get("type") == "object":
            inside = part.get("properties", {})
            required = [one for one in part.get("required", ()) if one in inside and depth < 8]
            return {one: self.value(inside[one], one, depth + 1) for one in required}
        if part.get("type") == "array":
            if first := part.get("prefixItems"):
                return [self.value(one, name, depth + 1) for one in first]
            count = part.get("minItems", int(self.finding.found and depth < 8))
            return [self.value(part.get("items", {}), name, depth + 1) for _ in range(count)]
        return _of_json(part, name, self.finding, self.asked)


def _of_json(part: Mapping[str, Any], name: str, finding: Finding, asked: FieldContext) -> object:
    kinds = {"boolean": "bool", "integer": "int", "number": "float", "null": "NoneType"}
    formats = {"date": "1970-01-01", "date-time": "1970-01-01T00:00:00Z", "time": "00:00:00"}
    if part.get("format") in formats:
        return formats[part["format"]]
    if part.get("type") in kinds:
        return _clamped(_of_plain(kinds[part["type"]], name, finding, asked), part)
    return finding.sentence if name.lower() in _SENTENCES else finding.answer


def _clamped(value: object, part: Mapping[str, Any]) -> object:
    """Keep a number inside the bounds of its schema."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    low, high = part.get("minimum", value), part.get("maximum", value)
    return type(value)(min(max(value, low), high))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Constant):
        return str(node.value)
    return node.id if isinstance(node, ast.Name) else ""
