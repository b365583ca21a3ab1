"""Everything of DSPy's that DSPy does not promise to keep, in one place.

`tests/test_internals.py` fails by name when one of these moves.
"""

from __future__ import annotations

from typing import Any

import dspy
from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
from dspy._vendor.lm15.types import StreamEvent
from dspy.adapters.json_adapter import _get_structured_outputs_response_format
from dspy.clients.lm import _is_openai_reasoning_model

__all__ = [
    "StreamEvent",
    "compiled_parts",
    "is_openai_reasoner",
    "mark_compiled",
    "request_to_dict",
    "response_format_of",
    "response_from_dict",
    "response_to_dict",
]


def compiled_parts(program: dspy.Module) -> list[dspy.Module]:
    """Return the parts that a teleprompter has marked as compiled.

    DSPy leaves such a part out of its parents' parameters: what was tuned before would be dropped
    without a word.
    """
    return [part for _, part in program.named_sub_modules() if getattr(part, "_compiled", False)]


def mark_compiled(part: dspy.Module, compiled: bool) -> None:
    """Set or take away a part's mark."""
    part._compiled = compiled


def is_openai_reasoner(model: str) -> bool:
    """Whether DSPy takes a model for one of OpenAI's that reason."""
    return bool(_is_openai_reasoning_model(model))


def response_format_of(signature: type[dspy.Signature]) -> Any:
    """Return the pydantic class whose JSON schema asks for a signature's output fields.

    Raises:
        Exception: A field's type has no schema; what is raised depends on the type.
    """
    return _get_structured_outputs_response_format(signature, False)
