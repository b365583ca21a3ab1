"""Scores per question in, means with intervals and the comparison of two programs out.

Everything is paired: both programs answered the same questions. Questions of one group (such as an
article) rise and fall together, so groups are resampled, not questions, wherever they are given. A
seed makes it repeatable. Knows nothing of what the scores measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Verdict = Literal["ship", "keep the baseline"]
Groups = Sequence[str]
"""The group of every question; questions of one name belong together."""

RESAMPLES = 9_999
CONFIDENCE = 0.95
_POWER_AT_95 = 1.959964 + 0.841621
"""Normal quantiles of 97.5 % and 80 %: a gain this many standard errors large is found 4 of 5 times
at the 5 % level."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better the second program is than the first, on the same questions.

    Attributes:
        n: Number of questions.
        gain: Mean of the differences.
        low: Lower end of the 95 % paired bootstrap interval.
        high: Upper end.
        p: Two-sided p of the paired permutation test; 1 if no score differs.
        detectable: The smallest true gain that this many questions would show 4 times out of 5.
        wins: Questions that the second program does better.
        losses: Questions that it does worse.
        groups: How many groups were resampled; 0 if every question stands for itself.
    """

    n: int
    gain: float
    low: float
    high: float
    p: float
    detectable: float
    wins: int
    losses: int
    groups: int = 0

    @property
    def verdict(self) -> Verdict:
        """Ship only if the whole interval lies above 0."""
        return "ship" if self.low > 0 else "keep the baseline"

    @property
    def resampled(self) -> str:
        """What was resampled and swapped, for people."""
        return f"{self.groups} groups" if self.groups else f"{self.n} questions"


@dataclass(frozen=True)
class _Clusters:
    """What is resampled: each cluster's sum of scores and its number of questions, shape (G,)."""

    sums: Scores
    sizes: Scores
    grouped: bool

    @classmethod
    def of(cls, scores: Scores, groups: Groups | None) -> _Clusters:
        """Sum up by group; where there is one group, or one a question, questions stand alone."""
        names, codes = np.unique(np.array(groups or [], dtype=str), return_inverse=True)
        if not 1 < len(names) < len(scores):
            return cls(scores, np.ones_like(scores), False)
        sizes = np.bincount(codes).astype(np.float64)
        return cls(np.bincount(codes, weights=scores).astype(np.float64), sizes, True)

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def standard_error(self) -> float:
        """Of the mean, from how the clusters differ (Cochran, Sampling Techniques, 1977, 9A.1)."""
        count = len(self.sums)
        if count < 2:
            return 0.0
        spread = self.sums - self.mean * self.sizes
        return float(np.sqrt(count / (count - 1) * np.sum(spread**2)) / self.sizes.sum())


def mean_interval(scores: Scores, *, groups: Groups | None = None, seed: int = 0) -> Mean:
    """The mean of scores of shape (n,) with its bootstrap interval.

    The percentile interval (Efron 1979) of resampled groups (Davison and Hinkley 1997, 3.8): scores
    are few and lumpy, and it stands where the bias-corrected one has no value (all scores equal).
    Its level is expanded as if by Student's t, for with few groups it is too narrow (Hesterberg,
    The American Statistician, 2015).
    """
    from scipy.stats import bootstrap

    clusters = _Clusters.of(scores, groups)
    mean = clusters.mean
    if len(clusters.sums) < 2 or np.ptp(clusters.sums / clusters.sizes) == 0:
        return Mean(mean, mean, mean)
    interval = bootstrap(
        (clusters.sums, clusters.sizes),
        lambda sums, sizes, axis: np.sum(sums, axis=axis) / np.sum(sizes, axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1_000,
        confidence_level=_expanded(len(clusters.sums)),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Mean(mean, float(interval.low), float(interval.high))


def compare(
    baseline: Scores, compiled: Scores, *, groups: Groups | None = None, seed: int = 0
) -> Gain:
    """Compare two programs' scores of the same n questions, both of shape (n,)."""
    differences = compiled - baseline
    clusters = _Clusters.of(differences, groups)
    interval = mean_interval(differences, groups=groups, seed=seed)
    return Gain(
        n=len(differences),
        gain=interval.mean,
        low=interval.low,
        high=interval.high,
        p=_permutation_p(clusters, seed),
        detectable=_POWER_AT_95 * clusters.standard_error,
        wins=int(np.sum(differences > 0)),
        losses=int(np.sum(differences < 0)),
        groups=len(clusters.sums) if clusters.grouped else 0,
    )


def standard_error(values: Scores) -> float:
    """Of the mean of values of shape (n,), each for itself; 0 if there is only one."""
    if len(values) < 2:
        return 0.0
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Correct the p of several claims made together (Holm, Scandinavian J. of Statistics, 1979)."""
    corrected: dict[str, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(p, key=lambda name: p[name])):
        highest = max(highest, min(1.0, (len(p) - place) * p[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p}


def _expanded(count: int) -> float:
    """The level at which a percentile interval of `count` values covers as Student's t does."""
    from scipy.stats import norm, t

    quantile = np.sqrt(count / (count - 1)) * t.ppf(0.5 + CONFIDENCE / 2, count - 1)
    return float(min(2 * norm.cdf(quantile) - 1, 1 - 1e-6))


def _permutation_p(clusters: _Clusters, seed: int) -> float:
    """Share of random swaps of whole groups that differ as much (Fisher 1935)."""
    from scipy.stats import permutation_test

    if not clusters.sums.any():
        return 1.0
    result = permutation_test(
        (clusters.sums, np.zeros_like(clusters.sums)),
        lambda first, second, axis: np.sum(first - second, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1_000,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)
