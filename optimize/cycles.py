"""Repeats learning prompts and tuning retrieval, each on top of the other, while dev improves.

Each further cycle learns prompts at the knobs that the cycle before came to, and chooses knobs
under these. It ends where nothing is left to follow, or where dev is not better than before. Knows
nothing of how either is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ragwright.optimize.prompts.state import Prompts
from ragwright.optimize.setting import Setting
from ragwright.optimize.summary import KnobSearch


@dataclass(frozen=True)
class CycleOutcome:
    """What one cycle came to.

    Attributes:
        entry: The knobs that its prompts were learned at.
        learned: The prompts.
        tuned: The knobs that answer best under them.
        found: The search that these are from.
        mean: What both together answer on dev, from 0 to 1; -1 where that was not asked.
    """

    entry: Setting
    learned: Prompts
    tuned: Setting
    found: KnobSearch
    mean: float

    @property
    def settled(self) -> bool:
        """Whether its prompts were learned at the very knobs that it came to."""
        return self.entry == self.tuned


def run_cycles(
    first: CycleOutcome, again: Callable[[int, CycleOutcome], CycleOutcome | None], *, most: int
) -> tuple[CycleOutcome, tuple[str, ...]]:
    """Return the last cycle that was better than the one before, and a sentence for each further.

    Args:
        first: The first cycle.
        again: Goes through the cycle of a number, from what the one before came to; None if a cap
            ended it.
        most: How many cycles there may be, the first included.
    """
    best, told = first, []
    for number in range(2, most + 1):
        if best.settled:
            told.append(f"Cycle {number} was left out: prompts and knobs fit each other already.")
            break
        further = again(number, best)
        if further is None:
            break
        better = further.mean > best.mean
        told.append(
            f"Cycle {number} of prompts and retrieval came to {further.mean:.3f} on dev, after "
            f"{best.mean:.3f}: it is {'kept' if better else 'dropped'}."
        )
        if not better:
            break
        best = further
    return best, tuple(told)
