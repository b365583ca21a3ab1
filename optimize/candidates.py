"""What competed in a compile, one record per candidate: its knobs, its prompts, its score on dev.

Comes in: evaluated variants, and the program that a DSPy optimizer returned, which carries its
candidates along. Knows nothing of where the records go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dspy

from programs.knobs import KnobValues
from retrievers.types import content_hash

Stage = Literal["prompts", "shortlist", "choice"]


@dataclass(frozen=True)
class Candidate:
    """One program that was judged on dev.

    Attributes:
        name: Such as "knobs only", "shortlist 2" or "prompts 4".
        stage: Where it competed.
        knobs: Its retrieval knobs.
        prompts: Hash of what its predictors say to the language model.
        dev: Mean score on dev, from 0 to 1.
    """

    name: str
    stage: Stage
    knobs: KnobValues
    prompts: str
    dev: float


def prompt_hash(program: dspy.Module) -> str:
    """A short hash of all instructions and demonstrations, equal for equal prompts."""
    parts = [
        json.dumps(
            [name, predictor.signature.instructions, [dict(demo) for demo in predictor.demos]],
            sort_keys=True,
            default=str,
        )
        for name, predictor in program.named_predictors()
    ]
    return content_hash(*parts)[:12]


def learned_candidates(learned: dspy.Module, knobs: KnobValues) -> list[Candidate]:
    """The candidates that an optimizer left on the program it returned, best first as it says.

    Few-shot searches, MIPROv2 and COPRO score from 0 to 100, SIMBA and GEPA from 0 to 1.
    """
    pairs = list(_scored(learned))
    share = 100.0 if any(score > 1 for _, score in pairs) else 1.0
    return [
        Candidate(f"prompts {place}", "prompts", knobs, prompt_hash(program), score / share)
        for place, (program, score) in enumerate(pairs, start=1)
    ]


def _scored(learned: Any) -> Iterator[tuple[dspy.Module, float]]:
    """Programs with their scores, from either of the two forms that DSPy has."""
    entries: Sequence[dict[str, Any]] = getattr(learned, "candidate_programs", None) or ()
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("program"), dspy.Module):
            yield entry["program"], float(entry["score"])
    details = getattr(learned, "detailed_results", None)
    if details is not None:
        yield from zip(details.candidates, map(float, details.val_aggregate_scores), strict=True)
