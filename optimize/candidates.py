"""What competed in a compile, one record per candidate: its knobs, its prompts, its score on dev.

Knows nothing of where the records go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from ragwright.optimize.prompts.state import Prompts, hash_of_prompts
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.setting import Setting
from ragwright.programs.knobs import KnobValues

CompileStage = Literal["halving", "prompts", "shortlist", "reading", "reranking", "choice"]


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
        demos: How many demonstrations its prompts hold.
        usage: Median `seconds`, and mean `prompt_tokens` and `completion_tokens`, of an answer;
            empty where an optimizer had it answer.
    """

    name: str
    stage: CompileStage
    setting: Setting
    prompts: str
    dev: float
    questions: int
    demos: int = 0
    usage: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, stage: CompileStage, setting: Setting, prompts: Prompts, done: Evaluation
    ) -> Self:
        """Record what was evaluated."""
        return cls(
            name, stage, setting, hash_of_prompts(prompts), done.mean, len(done.rows),
            count_demonstrations(prompts), done.usage,
        )  # fmt: skip

    @property
    def knobs(self) -> KnobValues:
        """The knobs of the first stage."""
        return self.setting.first


def count_demonstrations(prompts: Mapping[str, Any]) -> int:
    """How many demonstrations there are in prompts, as `prompts_of` returns them."""
    return sum(len(state.get("demos", ())) for state in prompts.values())
