"""Finds test questions whose words also stand in train or dev."""

from __future__ import annotations

from dataclasses import dataclass

from ragwright.optimize.questions.data import Splits
from ragwright.retrievers.text import answer_words

ALIKE = 0.8
"""Two questions that share this much of their words (Jaccard) are near-duplicates."""
NOTED = 0.05
"""From this share of the test questions on, near-duplicates are worth a note."""


@dataclass(frozen=True, slots=True)
class Leakage:
    """What train and dev tell about test.

    Attributes:
        shared_groups: Groups that stand on two sides; none unless the training set says so.
        near_duplicates: Test questions with a near-duplicate in train or dev, as pairs of ids.
    """

    shared_groups: int
    near_duplicates: tuple[tuple[str, str], ...]

    @property
    def described(self) -> str:
        """One line for people."""
        if not self.shared_groups and not self.near_duplicates:
            return "none found: no common group, no near-duplicate question"
        return (
            f"{self.shared_groups} groups on two sides, "
            f"{len(self.near_duplicates)} test questions with a near-duplicate in train or dev"
        )

    def note(self, asked: int) -> str:
        """Say what it means for the gain if much of the test side was seen; "" if it wasn't.

        Args:
            asked: How many test questions there are.
        """
        known = len(self.near_duplicates)
        if not known or known < NOTED * asked:
            return ""
        return (
            f"{known} of {asked} test questions stand in train or dev in nearly the same words: "
            "what was gained on them may have been learned by heart."
        )


def check_leakage(splits: Splits) -> Leakage:
    """Compare every test question with every question of train and dev, by its words."""
    seen = [
        (question.id, frozenset(answer_words(question.question)))
        for question in (*splits.train, *splits.dev)
    ]
    pairs = []
    for question in splits.test:
        words = frozenset(answer_words(question.question))
        for other, known in seen:
            if len(words & known) >= ALIKE * len(words | known):
                pairs.append((question.id, other))
                break
    return Leakage(splits.shared_groups, tuple(pairs))
