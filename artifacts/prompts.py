"""Writes the prompts of a program as Markdown, so that people can read what was learned.

The text is what DSPy's chat adapter sends, with `{field}` where a question's own values will
stand. Nothing reads it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import dspy

from ragwright.programs.fallback import error_line
from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.retrievers.errors import ArtifactError

LONGEST_NAME = 80
_UNWRITTEN = (AttributeError, TypeError, ValueError, LookupError, NotImplementedError)
"""What DSPy and a field's type raise where one of its values, or its schema, has no text."""


def render_prompts(program: dspy.Module) -> dict[str, str]:
    """Return one Markdown text per predictor, by a file name made of the predictor's name."""
    named = program.named_predictors()
    files = file_names(name for name, _ in named)
    return {files[name]: _render(name, predictor) for name, predictor in named}


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return a file name for each place in a program, such as `hops[0].answer`.

    Keys of a table are part of a place, and may hold what a file name may not. Two that come to
    the same name are numbered.
    """
    made: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.\[\]-]+", "_", name)[:LONGEST_NAME].strip(".")
        taken = sum(plain == other.rpartition("~")[0] or plain == other for other in made.values())
        made[name] = f"{plain}~{taken + 1}" if taken else plain
    return made


def messages_of(predictor: dspy.Predict, *, marks: str = "{{%s}}") -> list[dict[str, str]]:
    """Return what is sent to a language model, as role and content.

    Args:
        predictor: Whose prompt.
        marks: What stands where a question's own values will, `%s` being the field's name.

    Raises:
        ArtifactError: DSPy cannot write a prompt for the predictor's signature.
    """
    signature = predictor.signature
    fields = signature.input_fields.items()
    inputs = {name: _stand_in(marks % name, field) for name, field in fields}
    demos = [dict(demo) for demo in predictor.demos]
    try:
        messages = ReplyAdapter().format(signature=signature, demos=demos, inputs=inputs)
    except _UNWRITTEN as error:
        raise ArtifactError(
            f"DSPy cannot write a prompt for the signature {signature.signature!r}: "
            f"{error_line(error)}",
            hint="Ask the predictor once by itself; a field's type has no text in DSPy.",
        ) from error
    return [{"role": str(one["role"]), "content": str(one["content"])} for one in messages]


def _render(name: str, predictor: dspy.Predict) -> str:
    parts = [f"# Prompt of `{name}`: {len(predictor.demos)} demonstrations"]
    try:
        messages = messages_of(predictor, marks="{%s}")
    except ArtifactError as error:  # which is no reason to keep nothing of the program
        return "\n\n".join([*parts, error.what, predictor.signature.instructions]) + "\n"
    parts += [f"## {message['role']}\n\n{_fenced(message['content'])}" for message in messages]
    return "\n\n".join(parts) + "\n"


def _stand_in(mark: str, field: Any) -> object:
    """What stands for a value; a conversation's turns are messages of their own, so here none."""
    return dspy.History(messages=[]) if field.annotation is dspy.History else mark


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
