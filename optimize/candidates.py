"""What competed in a compile, one record per candidate: its knobs, its prompts, its score on dev.

Knows nothing of where the records go.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import dspy

from programs.knobs import KnobValues
from retrievers.types import content_hash

Stage = Literal["halving", "prompts", "shortlist", "reading", "choice"]


@dataclass(frozen=True)
class Candidate:
    """One program that was judged on dev.

    Attributes:
        name: Such as "knobs only", "shortlist 2" or "prompts 4".
        stage: Where it competed.
        knobs: Its retrieval knobs.
        prompts: Hash of what its predictors say to the language model.
        dev: Mean score on dev, from 0 to 1.
        questions: How many dev questions it was asked: not all, where it fell behind before.
    """

    name: str
    stage: Stage
    knobs: KnobValues
    prompts: str
    dev: float
    questions: int


def prompt_hash(program: dspy.Module) -> str:
    """A short hash of all instructions and demonstrations, equal for equal prompts."""
    state = {
        name: predictor.dump_state(json_mode=True) for name, predictor in program.named_predictors()
    }
    return content_hash(json.dumps(state, sort_keys=True))[:12]
