"""A program in, its prompts as Markdown out, so that people can read what was learned.

The text is what DSPy's chat adapter sends, with `{field}` where a question's own values will
stand. Nothing reads it back. Knows nothing of files.
"""

from __future__ import annotations

import dspy

from ragwright.programs.replies.adapter import ReplyAdapter


def render_prompts(program: dspy.Module) -> dict[str, str]:
    """Return one Markdown text per predictor, by the predictor's name."""
    return {name: _render(name, predictor) for name, predictor in program.named_predictors()}


def _render(name: str, predictor: dspy.Predict) -> str:
    signature = predictor.signature
    inputs = {field: f"{{{field}}}" for field in signature.input_fields}
    demos = [dict(demo) for demo in predictor.demos]
    messages = ReplyAdapter().format(signature=signature, demos=demos, inputs=inputs)
    parts = [f"# Prompt of `{name}`: {len(demos)} demonstrations"]
    parts += [f"## {message['role']}\n\n{_fenced(_text(message))}" for message in messages]
    return "\n\n".join(parts) + "\n"


def _text(message: dict[str, object]) -> str:
    return str(message["content"])


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
