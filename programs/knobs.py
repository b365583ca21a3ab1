"""The retrieval numbers of a program, as one DSPy parameter that is saved with its state.

Comes in: numbers from a recipe, a state file or the tuner. Goes out: `KnobValues`, frozen and
checked. `Knobs` is the leaf through which a program holds them; optimizers of prompts leave it
alone, `optimize/` tunes it. Knows nothing of how the numbers are used: see `selection.py`.
"""

from __future__ import annotations

from typing import Any, Literal

from dspy.predict.parameter import Parameter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ragwright.retrievers.errors import InputError

POOL_DEPTH = 100
"""How many candidates each source is asked for, whatever the knobs say.

An approximate index asked for 10 need not return the first 10 of what it returns when asked for
100. A fixed depth, cut afterwards, is what makes a replayed pool equal to a live search.
"""

MOST_NEIGHBOURS = 2
"""How many chunks to either side of a passage a pool knows of."""

Fusion = Literal["rrf", "convex"]
Order = Literal["rank", "document", "edges"]


class KnobValues(BaseModel):
    """Every number that retrieval depends on, with its range and default.

    Attributes:
        weight_dense: Weight of the cosine between question and passage vectors.
        weight_bm25: Weight of the BM25 score.
        weight_maxsim: Weight of late interaction; 0 switches it off.
        weight_cross: Weight of the cross-encoder; 0 switches it off.
        weight_lm: Weight of a language model as the reranker; 0 switches it off.
        fusion: "rrf" adds reciprocal ranks, "convex" adds scaled scores.
        rrf_constant: The constant of reciprocal rank fusion.
        depth_dense: How many dense candidates take part.
        depth_bm25: How many BM25 candidates take part.
        rerank_depth: How many fused candidates are scored by MaxSim and cross-encoder.
        k: How many passages come out.
        score_threshold: Passages under this share of the best one's score are dropped.
        diversity: From 0, scores alone, to 1: how much a passage loses by being like one before it.
        context_tokens: Tokens that the numbered passages may fill in the prompt.
        neighbours: How many chunks before and after a packed passage in its document are added to
            it, as far as `context_tokens` leaves room.
        order: How passages stand in the prompt: "rank" best first, "document" as they stand in
            their documents, "edges" with the best at both ends.
        abstain_below: A program that may abstain does so when it is less sure than this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weight_dense: float = Field(0.5, ge=0, le=1)
    weight_bm25: float = Field(0.5, ge=0, le=1)
    weight_maxsim: float = Field(0.0, ge=0, le=1)
    weight_cross: float = Field(0.0, ge=0, le=1)
    weight_lm: float = Field(0.0, ge=0, le=1)
    fusion: Fusion = "convex"
    rrf_constant: int = Field(60, ge=1, le=1000)
    depth_dense: int = Field(50, ge=1, le=POOL_DEPTH)
    depth_bm25: int = Field(50, ge=1, le=POOL_DEPTH)
    rerank_depth: int = Field(50, ge=1, le=2 * POOL_DEPTH)
    k: int = Field(5, ge=1, le=50)
    score_threshold: float = Field(0.0, ge=0, le=1)
    diversity: float = Field(0.0, ge=0, le=1)
    context_tokens: int = Field(2000, ge=64, le=200_000)
    neighbours: int = Field(0, ge=0, le=MOST_NEIGHBOURS)
    order: Order = "rank"
    abstain_below: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _some_source(self) -> KnobValues:
        if self.weight_dense + self.weight_bm25 == 0:
            raise ValueError("weight_dense and weight_bm25 are both 0, so nothing is retrieved")
        return self

    @classmethod
    def dense(cls, k: int = 5) -> KnobValues:
        """Plain vector search, the usual starting point: the k nearest passages."""
        return cls(weight_dense=1.0, weight_bm25=0.0, k=k)

    @classmethod
    def checked(cls, values: object) -> KnobValues:
        """Validate values from outside, such as a state file or a recipe.

        Raises:
            InputError: An unknown knob, a wrong type or a value out of range.
        """
        try:
            return cls.model_validate(values, strict=True)
        except ValidationError as error:
            raise InputError(
                f"Wrong retrieval knobs: {describe(error)}.",
                hint="Correct or remove it; `rag show` lists every knob with its range.",
            ) from error

    def replaced(self, **values: Any) -> KnobValues:
        """Return a copy with these values changed and everything checked again."""
        return KnobValues.checked({**self.model_dump(), **values})


def describe(error: ValidationError) -> str:
    """Say in one line which keys are wrong and why, with the values."""
    parts = []
    for item in error.errors():
        place = ".".join(str(step) for step in item["loc"]) or "values"
        shown = "" if isinstance(item["input"], dict) else f" (got {item['input']!r})"
        parts.append(f"{place}: {item['msg']}{shown}")
    return "; ".join(parts)


class Knobs(Parameter):
    """The leaf of a `dspy.Module` that holds its `KnobValues` and saves them with the state.

    One instance is shared by all the stages of a program.
    """

    def __init__(self, values: KnobValues | None = None) -> None:
        self.values = values or KnobValues()

    def reset(self) -> None:
        """Keep the values: optimizers call this to forget demonstrations, not retrieval."""

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Return the values as plain JSON types, for `dspy.Module.save`."""
        return self.values.model_dump(mode="json")

    def load_state(self, state: object) -> None:
        """Take values from a state file.

        Raises:
            InputError: An unknown knob, a missing one, a wrong type or a value out of range.
        """
        self.values = KnobValues.checked(state)
