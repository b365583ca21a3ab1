"""Compares the gain on test questions about documents seen in train or dev, and about others.

A document is seen if a question of train or dev names it. What was learned of a document helps
where its questions come back, and may do harm elsewhere: one mean over both hides that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.questions.data import Splits
from ragwright.optimize.scoring.statistics import Gain, paired_gain

FEWEST = 2
"""Fewer questions than these have no interval."""


@dataclass(frozen=True)
class FamiliarityGroup:
    """Test questions about documents that were seen, or about others.

    Attributes:
        name: "seen" or "unseen".
        n: How many questions.
        baseline: Mean of the baseline; NaN without a question.
        compiled: Mean of the compiled program.
        gain: Compiled against baseline; None with fewer than two questions.
    """

    name: str
    n: int
    baseline: float
    compiled: float
    gain: Gain | None


def names_seen_document(splits: Splits) -> NDArray[np.bool_]:
    """Whether train or dev name a document of each test question, shape (Q,)."""
    known = {name for one in (*splits.train, *splits.dev) for name in one.documents}
    return np.array([bool(known & set(one.documents)) for one in splits.test], dtype=np.bool_)


def gains_by_familiarity(
    splits: Splits,
    baseline: NDArray[np.float64],
    compiled: NDArray[np.float64],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[FamiliarityGroup, ...]:
    """Compare on seen and on unseen documents apart; nothing where no test question names any."""
    if not any(question.documents for question in splits.test):
        return ()
    return compare_seen_and_unseen(
        names_seen_document(splits), baseline, compiled, groups=groups, seed=seed
    )


def compare_seen_and_unseen(
    seen: NDArray[np.bool_],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[FamiliarityGroup, ...]:
    """Return the gain where `seen` is true, and where it is not; all of shape (Q,)."""
    return tuple(
        _compared(name, rows, before, after, groups, seed)
        for name, rows in (("seen", seen), ("unseen", ~seen))
    )


def _compared(
    name: str, rows: NDArray[np.bool_], baseline: NDArray[np.float64],
    compiled: NDArray[np.float64], groups: Sequence[str] | None, seed: int,
) -> FamiliarityGroup:  # fmt: skip
    before, after = baseline[rows], compiled[rows]
    places = np.flatnonzero(rows).tolist()
    own = [groups[place] for place in places] if groups else None
    gain = paired_gain(before, after, groups=own, seed=seed) if len(places) >= FEWEST else None
    one, other = (float(part.mean()) if places else float("nan") for part in (before, after))
    return FamiliarityGroup(name, len(places), one, other, gain)
