"""What a program says to its language model, apart from the program: taken, put back, told apart.

A prompt is what DSPy's optimizers can change of a predictor: instructions and demonstrations, in
the form that is saved. Knows nothing of how they are learned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import dspy

from ragwright.retrievers.types import content_hash


def prompts_of(program: dspy.Module) -> dict[str, Any]:
    """Return what can be learned about prompts, as JSON values, by predictor."""
    return {
        name: predictor.dump_state(json_mode=True) for name, predictor in program.named_predictors()
    }


def set_prompts(program: dspy.Module, prompts: Mapping[str, Any]) -> None:
    """Put back what `prompts_of` returned; predictors that it does not name keep what they have.

    Such are those inside a live retriever, where it was taken from a program over a pool.
    """
    for name, predictor in program.named_predictors():
        if name in prompts:
            predictor.load_state(prompts[name])


def prompt_hash(program: dspy.Module) -> str:
    """A short hash of all instructions and demonstrations, equal for equal prompts."""
    return content_hash(json.dumps(prompts_of(program), sort_keys=True))[:12]
