"""Reads the prompts of a program, sets them again, and compares them by a hash.

A prompt is what DSPy's optimizers can change of a predictor: instructions and demonstrations, in
the form that is saved. Knows nothing of how they are learned.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import dspy
from pydantic_core import to_jsonable_python

from ragwright.retrievers.types import content_hash

Prompts = Mapping[str, Any]
"""What can be learned about prompts, as JSON values, by predictor."""


AUGMENTED = "augmented"
"""What DSPy notes in a demonstration of which some fields are a model's."""


def prompts_of(program: dspy.Module) -> dict[str, Any]:
    """Return what can be learned about prompts, as JSON values, by predictor."""
    return {name: _state(predictor) for name, predictor in program.named_predictors()}


def _state(predictor: dspy.Predict) -> dict[str, Any]:
    """Its state without its model, and without what demonstrations hold besides what is shown.

    A model may be one that cannot be saved; so may the other columns of an example, which DSPy
    keeps in a demonstration that is made of it.
    """
    apart = copy.copy(predictor)
    apart.lm = None
    shown = {*predictor.signature.fields, AUGMENTED}
    apart.demos = [
        {key: value for key, value in demo.items() if key in shown} for demo in predictor.demos
    ]
    state: dict[str, Any] = apart.dump_state(json_mode=True)
    # An enumeration's member is its value, as the model is to write it, not "Kind.A".
    plain: dict[str, Any] = to_jsonable_python(
        state, fallback=str, bytes_mode="base64", inf_nan_mode="constants"
    )
    return plain


def set_prompts(program: dspy.Module, prompts: Mapping[str, Any]) -> None:
    """Put back what `prompts_of` returned; predictors that it does not name keep what they have.

    Each keeps its own language model, if it has one.
    """
    for name, predictor in program.named_predictors():
        if name in prompts:
            lm = predictor.lm
            predictor.load_state(prompts[name])
            predictor.lm = lm


def copy_signature(predictor: dspy.Predict) -> None:
    """Give a predictor a signature of its own.

    A copy of a program shares the class of its signatures, so that an optimizer that writes its
    instructions into that class would change the program it was given, and every other copy.
    """
    signature = predictor.signature
    predictor.signature = signature.with_instructions(signature.instructions)


def prompt_hash(program: dspy.Module) -> str:
    """A short hash of all instructions and demonstrations, equal for equal prompts."""
    return hash_of_prompts(prompts_of(program))


def hash_of_prompts(prompts: Mapping[str, Any]) -> str:
    """The same of what `prompts_of` returned."""
    return content_hash(json.dumps(prompts, sort_keys=True, default=str))[:12]
