"""What competed in a compile, one record per candidate: its knobs, its prompts, its score on dev.

Knows nothing of where the records go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ragwright.optimize.setting import Setting
from ragwright.programs.knobs import KnobValues

Stage = Literal["halving", "prompts", "shortlist", "reading", "reranking", "choice"]


@dataclass(frozen=True)
class Candidate:
    """One program that was judged on dev.

    Attributes:
        name: Such as "knobs only", "shortlist 2" or "prompts 4".
        stage: Where it competed.
        setting: The knobs of its stages.
        prompts: Hash of the prompts that an optimizer may change.
        dev: Mean score on dev, from 0 to 1.
        questions: How many dev questions it was asked: not all, where it fell behind before.
    """

    name: str
    stage: Stage
    setting: Setting
    prompts: str
    dev: float
    questions: int

    @property
    def knobs(self) -> KnobValues:
        """The knobs of the first stage."""
        return self.setting.first
