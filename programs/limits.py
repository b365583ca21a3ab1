"""How long the stages of a program may take, and what answers when they fail: plain settings.

Part of a recipe. Knows nothing of how they are kept: see `fallback.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ragwright.retrievers.settings import Settings

FallbackStage = Literal["dense", "keyword", "source", "rerank", "rewrite", "respond"]


class FallbackSettings(Settings):
    """How long stages may take, and what answers when they fail.

    Attributes:
        enabled: Whether a loaded artifact falls back at all, or fails.
        retrieve_seconds: Time limit of the dense, the keyword and any further search, each.
        rerank_seconds: Time limit of the reranker.
        rewrite_seconds: Time limit of each call that writes queries.
        respond_seconds: Time limit of each language model that is asked for the answer.
        second_lm: Asked when the first language model fails; none if empty.
        passages_only: Return the passages without an answer when no language model gives one.
        failures: So many failures in a row of one backend open its circuit.
        cooldown_seconds: Then it is left alone for so long before one call probes it again.
    """

    enabled: bool = False
    retrieve_seconds: float | None = Field(default=None, gt=0)
    rerank_seconds: float | None = Field(default=None, gt=0)
    rewrite_seconds: float | None = Field(default=None, gt=0)
    respond_seconds: float | None = Field(default=None, gt=0)
    second_lm: str = ""
    passages_only: bool = True
    failures: int = Field(default=3, ge=1)
    cooldown_seconds: float = Field(default=30.0, ge=0)

    def seconds(self, stage: FallbackStage) -> float | None:
        """Return the time limit of a stage, or None if it has none."""
        name = "retrieve" if stage in ("dense", "keyword", "source") else stage
        limit: float | None = getattr(self, f"{name}_seconds")
        return limit
