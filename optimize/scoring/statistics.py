"""Statistics of scores: means with intervals, and paired comparisons of two programs.

Everything is paired: both programs answered the same questions. Questions of one group (such as an
article) rise and fall together, so groups are resampled, not questions, wherever they are given. A
seed makes it repeatable. Knows nothing of what the scores measure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Verdict = Literal["ship", "ship the cheaper one", "keep the baseline"]
Groups = Sequence[str]
"""The group of every question; questions of one name belong together."""

RESAMPLES = 9_999
CONFIDENCE = 0.95
TYPICAL = 0.4
"""Standard deviation of the difference between two programs' scores of a question, as assumed
before any is known: that of answers of which one in six changes from wrong to right or back."""
COARSE = 20
FEW = "give more questions, or a finer `group` to each (a section instead of a document, say)."
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
        """Ship only what is proven."""
        return "ship" if self.proven else "keep the baseline"

    @property
    def proven(self) -> bool:
        """Whether the interval lies above 0 and the permutation test agrees.

        The bootstrap's interval is too narrow where few questions differ: four that were won and
        none that was lost lie above 0, and come out so by chance one time in eight.
        """
        return self.low > 0 and self.p <= 1 - CONFIDENCE

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


def mean_interval(
    scores: Scores,
    *,
    groups: Groups | None = None,
    seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Mean:
    """The mean of scores of shape (n,) with its bootstrap interval.

    The percentile interval (Efron 1979) of resampled groups (Davison and Hinkley 1997, 3.8): scores
    are few and lumpy, and it stands where the bias-corrected one has no value (all scores equal).
    Its level is expanded as if by Student's t, for with few groups it is too narrow (Hesterberg,
    The American Statistician, 2015). One score says nothing of others: its interval is
    `bounds`, all that a score can be.
    """
    from scipy.stats import bootstrap

    clusters = _Clusters.of(scores, groups)
    mean = clusters.mean
    if len(clusters.sums) < 2:
        return Mean(mean, *bounds)
    if np.ptp(clusters.sums / clusters.sizes) == 0:
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


def paired_gain(
    baseline: Scores, compiled: Scores, *, groups: Groups | None = None, seed: int = 0
) -> Gain:
    """Compare two programs' scores of the same n questions, both of shape (n,)."""
    differences = compiled - baseline
    clusters = _Clusters.of(differences, groups)
    interval = mean_interval(differences, groups=groups, seed=seed, bounds=(-1.0, 1.0))
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


def least_p(count: int) -> float:
    """The smallest p that the permutation test of so many groups can give: all swapped alike.

    Where swaps are drawn, the one that happened counts among them, on either side.
    """
    return max(2.0 ** (1 - count), 2 / (RESAMPLES + 1))


@dataclass(frozen=True, slots=True)
class Power:
    """What a set of test questions can show, before any of them is answered.

    Attributes:
        n: Questions.
        groups: Groups of them, which are resampled together; questions that stand alone count.
        least_p: The smallest p that can come out.
        detectable: The gain that would show 4 times out of 5, if differences between two answers
            have the standard deviation `TYPICAL` and those of one group rise and fall together.
        detectable_apart: The same if every question gains for itself. The truth lies between.
    """

    n: int
    groups: int
    least_p: float
    detectable: float
    detectable_apart: float

    @classmethod
    def of(cls, groups: Groups) -> Power:
        """Count groups; where there is one alone, questions stand for themselves."""
        sizes = Counter(groups)
        if len(sizes) < 2:
            sizes = Counter(map(str, range(len(groups))))
        n, spread = len(groups), float(np.sqrt(sum(size**2 for size in sizes.values())))
        one = _POWER_AT_95 * TYPICAL / max(n, 1)
        return cls(n, len(sizes), least_p(len(sizes)), one * spread, one * float(np.sqrt(n)))

    def __str__(self) -> str:
        apart, together = f"{self.detectable_apart:.2f}", f"{self.detectable:.2f}"
        gain = (
            f"{apart} or more"
            if apart == together
            else f"{apart} (each question for itself) to {together} (groups as one) or more"
        )
        said = (
            f"{self.n} test questions in {self.groups} groups can show a gain of about {gain}; "
            f"the smallest p possible is {self.least_p:.2g}."
        )
        if self.least_p > 1 - CONFIDENCE:
            return f"{said} No gain can be proved with so few: {FEW}"
        return f"{said} That is coarse: {FEW}" if self.groups < COARSE else said


def standard_error(values: Scores) -> float:
    """Of the mean of values of shape (n,), each for itself; 0 if there is only one."""
    if len(values) < 2:
        return 0.0
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def clearly_below(scores: Scores, better: Scores) -> bool:
    """Whether scores of the same questions are worse by more than one standard error on average."""
    differences = better - scores
    return float(differences.mean()) > standard_error(differences)


def holm_correction(p: Mapping[str, float]) -> dict[str, float]:
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

    if len(clusters.sums) < 2 or not clusters.sums.any():
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
