"""A program as a tree, and the exact prompt it sends: `rag show --tree` and `rag prompt`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy
from dspy.predict.parameter import Parameter
from dspy.utils.callback import BaseCallback
from rich.markup import escape
from rich.tree import Tree

from ragwright.artifacts.cli.actions import ReadyProgram, ask_program, load_ready_program
from ragwright.artifacts.cli.inputs import written_inputs
from ragwright.artifacts.cli.sources import ProgramSource, named_artifact
from ragwright.artifacts.cli.terminal import escape_controls
from ragwright.artifacts.cli.view import print_json, stdout_console
from ragwright.programs.interface import ProgramInputs
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.rag import RAG
from ragwright.programs.variants import parse_recipe_reference
from ragwright.retrievers.base import Retriever
from ragwright.retrievers.errors import InputError


@dataclass(frozen=True)
class Node:
    """A part of a program.

    Attributes:
        name: The attribute it stands in; the class's name for the whole.
        kind: Its class.
        detail: Its settings, knobs that differ from their defaults, or signature, in one line.
        parts: What it holds.
    """

    name: str
    kind: str
    detail: str
    parts: tuple[Node, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "detail": self.detail,
            "parts": [part.as_dict() for part in self.parts],
        }


@dataclass(frozen=True)
class PromptMessages:
    """The messages of one program for one question, with where the program came from."""

    source: str
    messages: list[dict[str, Any]]

    @property
    def text(self) -> str:
        """All messages as one text, each under its role."""
        return "\n\n".join(f"--- {item['role']} ---\n{item['content']}" for item in self.messages)


def tree_of(program: dspy.Module) -> Node:
    """Read a program's modules, knobs and predictors; knobs that are shared stand once."""
    return _node(type(program).__name__, program, set())


def show_tree(program: dspy.Module, as_json: bool) -> None:
    """Print a program as a tree."""
    node = tree_of(program)
    if as_json:
        print_json(node.as_dict())
        return
    stdout_console().print(_drawn(node))


@dataclass(frozen=True)
class PromptRequest:
    """What a program is asked for its prompt: a question, and its other inputs, NAME=VALUE."""

    question: str
    inputs: tuple[str, ...] = ()
    index: Path | None = None
    lm: str | None = None


def prompt_of(source: Path, asked: PromptRequest) -> PromptMessages:
    """Build or load a program, search for the question, and return what it would send.

    No language model is asked. Of a program of one's own it is what its first call sends.

    Raises:
        RagError: Any part of the program is missing or does not fit.
    """
    if not asked.question.strip():
        raise InputError("The question is empty.", hint="Ask something.")
    recipe = source if parse_recipe_reference(source)[0].suffix == ".toml" else None
    artifact = None if recipe else named_artifact(source) or source
    loaded = load_ready_program(ProgramSource(recipe, artifact, asked.index), asked.lm)
    if isinstance(loaded.program, RAG):
        given = written_inputs(asked.inputs)
        ProgramInputs.of(loaded.program).call(asked.question, given, written=True)
        return PromptMessages(str(source), loaded.program.messages(asked.question))
    return PromptMessages(str(source), _first_sent(loaded, asked))


class _Sent(BaseException):
    """Ends a program where it would ask; nothing on the way may take it for a failure."""


class _Stop(BaseCallback):
    """Stops at the first call of a language model, before it is made."""

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        text = {"role": "user", "content": inputs.get("prompt")}
        raise _Sent(inputs.get("messages") or [text])


def _first_sent(loaded: ReadyProgram, asked: PromptRequest) -> list[dict[str, Any]]:
    try:
        with dspy.context(callbacks=[_Stop()]):
            ask_program(loaded, asked.question, asked.inputs)
    except _Sent as sent:
        messages: list[dict[str, Any]] = sent.args[0]
        return messages
    raise InputError(
        "The program answered without asking a language model.",
        hint="It sends nothing: there is no prompt to show.",
    )


def show_prompt(prompt: PromptMessages, other: PromptMessages | None, as_json: bool) -> None:
    """Print a prompt, or a unified diff from it to another."""
    if as_json:
        both = [prompt] if other is None else [prompt, other]
        print_json([{"source": one.source, "messages": one.messages} for one in both])
    elif other is None:
        print(escape_controls(prompt.text))
    else:
        lines = difflib.unified_diff(
            prompt.text.splitlines(), other.text.splitlines(), prompt.source, other.source,
            lineterm="",
        )  # fmt: skip
        print(escape_controls("\n".join(lines)) or "The prompts are the same.")


def _node(name: str, part: Any, seen: set[int]) -> Node:
    seen.add(id(part))
    parts = tuple(_node(key, value, seen) for key, value in _held(part) if id(value) not in seen)
    return Node(name, type(part).__name__, _detail(part), parts)


def _held(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, dspy.Predict | Retriever | Knobs):
        return
    for key, value in vars(part).items():
        if isinstance(value, dspy.Module | Parameter):
            yield key, value


def _detail(part: Any) -> str:
    if isinstance(part, Knobs):
        default = KnobValues()
        changed = {
            name: value
            for name, value in part.values.model_dump().items()
            if value != getattr(default, name)
        }
        return _settings(changed) or "all at their defaults"
    if isinstance(part, dspy.Predict):
        return f"{part.signature.signature}, {len(part.demos)} demonstrations"
    plain = {key: value for key, value in vars(part).items() if _is_setting(key, value)}
    return _settings(plain)


def _is_setting(key: str, value: object) -> bool:
    return isinstance(value, str | int) and not key.startswith("_") and key not in ("path", "stage")


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _drawn(node: Node, parent: Tree | None = None) -> Tree:
    label = f"[bold]{escape(node.name)}[/bold]"
    if node.name != node.kind:
        label += f": {escape(node.kind)}"
    if node.detail:
        label += f"  [dim]{escape(node.detail)}[/dim]"
    branch = Tree(label) if parent is None else parent.add(label)
    for part in node.parts:
        _drawn(part, branch)
    return branch
