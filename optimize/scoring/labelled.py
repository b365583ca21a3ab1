"""Corrects a judge's mean score by a person's scores of a few of the answers.

A judge that errs shifts every mean that it gives. Prediction-powered inference (Angelopoulos et
al., Science, 2023) measures by how much on the few that a person labelled, and gives the judge the
weight that it deserves (PPI++, Angelopoulos, Duchi and Zrnic, 2023): a judge that says nothing is
left out, and what stays is the mean of the labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.scoring.statistics import Scores

FEWEST = 10
"""Fewer labels than these do not tell how far a judge errs."""


@dataclass(frozen=True)
class CorrectedMean:
    """A mean, corrected by labels.

    Attributes:
        mean: The corrected mean.
        low: Lower end of its 95 % interval.
        high: Upper end.
        judged: What the judge alone says of all questions.
        labels: How many questions a person labelled.
        n: How many there are.
        weight: Of the judge, from 0, of no use, to 1.
    """

    mean: float
    low: float
    high: float
    judged: float
    labels: int
    n: int
    weight: float


def correct_mean(judged: Scores, labelled: NDArray[np.bool_], labels: Scores) -> CorrectedMean:
    """Return the mean score of all questions, or the mean difference of two programs.

    The interval is Student's, with as many degrees of freedom as labels less one.

    Args:
        judged: The judge's scores, or differences, shape (n,).
        labelled: Which questions a person labelled, drawn at random, shape (n,).
        labels: The person's scores, or differences, of these, shape (m,).

    Raises:
        ValueError: There are fewer than two labels.
    """
    from scipy.stats import t

    count, others = int(labelled.sum()), int((~labelled).sum())
    if count < 2:
        raise ValueError(f"{count} labels say nothing of a judge")
    own, rest = judged[labelled], judged[~labelled]
    if others < 2:
        weight, mean, variance = 0.0, float(labels.mean()), float(labels.var(ddof=1)) / count
    else:
        weight = _weight(own, labels, count / others)
        errors = labels - weight * own
        mean = float(weight * rest.mean() + errors.mean())
        variance = weight**2 * float(rest.var(ddof=1)) / others + float(errors.var(ddof=1)) / count
    half = float(t.ppf(0.975, count - 1)) * variance**0.5
    return CorrectedMean(
        mean, mean - half, mean + half, float(judged.mean()), count, len(judged), weight
    )


def _weight(own: Scores, labels: Scores, ratio: float) -> float:
    """How far to trust the judge: the weight that makes the interval shortest, from 0 to 1."""
    spread = float(own.var(ddof=1))
    if not spread:
        return 0.0
    together = float(np.cov(own, labels, ddof=1)[0, 1])
    return min(1.0, max(0.0, together / spread / (1 + ratio)))
