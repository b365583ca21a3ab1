"""Compares two streams of thumbs at any time, without an early look counting as a find.

A usual p is good for one look. These are good for a look after every thumb: whoever stops at the
first significant one is wrong no more often than the level says.

- The e-value is that of R. Turner, A. Ly and P. Grünwald, "Generic E-variables for exact sequential
  k-sample tests that allow for optional stopping", 2024 (https://arxiv.org/abs/2106.02693), for
  blocks of any size, with estimates from the blocks before. By Ville's inequality it passes
  1 / level with a probability of the level at most, ever, if the two streams are alike.
- Intervals are the confidence sequences of a beta-binomial mixture (H. Robbins, "Statistical
  methods related to the law of the iterated logarithm", 1970), each at half the level.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LEVEL = 0.05


@dataclass(frozen=True)
class Arm:
    """One stream: how many thumbs, and how many of them up."""

    ratings: int = 0
    up: int = 0

    @property
    def share(self) -> float:
        """Thumbs up among all, from 0 to 1; NaN without any."""
        return self.up / self.ratings if self.ratings else math.nan

    def with_rating(self, up: bool) -> Arm:
        """Return the stream with one thumb more."""
        return Arm(self.ratings + 1, self.up + up)

    def joined(self, other: Arm) -> Arm:
        """Return both streams as one."""
        return Arm(self.ratings + other.ratings, self.up + other.up)


@dataclass(frozen=True)
class AnytimeComparison:
    """The candidate against the incumbent.

    Attributes:
        incumbent: Its thumbs.
        candidate: Its thumbs.
        difference: Share of thumbs up, the candidate's minus the incumbent's.
        low: Lower end of the interval of the difference, good at any time.
        high: Upper end.
        e_value: Evidence against "they are alike", at its highest so far.
        level: Chance of a false find that is allowed.
    """

    incumbent: Arm
    candidate: Arm
    difference: float
    low: float
    high: float
    e_value: float
    level: float = LEVEL

    @property
    def p(self) -> float:
        """A p that is good at any time."""
        return min(1.0, 1.0 / self.e_value)

    @property
    def verdict(self) -> str:
        """ "better", "worse" or "not decided"."""
        if self.p > self.level:
            return "not decided"
        return "better" if self.difference > 0 else "worse"


def compare_thumbs(
    thumbs: Iterable[tuple[bool, bool]], *, level: float = LEVEL
) -> AnytimeComparison:
    """Judge two streams of thumbs.

    Args:
        thumbs: Whether the candidate answered, and whether the thumb went up, as they came.
        level: Chance of a false find that is allowed, whenever it is looked at.
    """
    arms, block = [Arm(), Arm()], [Arm(), Arm()]
    log_e = highest = 0.0
    for candidate, up in thumbs:
        block[candidate] = block[candidate].with_rating(up)
        if all(part.ratings for part in block):
            log_e += _log_evidence(arms, block)
            highest = max(highest, log_e)
            arms = [one.joined(other) for one, other in zip(arms, block, strict=True)]
            block = [Arm(), Arm()]
    arms = [one.joined(other) for one, other in zip(arms, block, strict=True)]
    (low_a, high_a), (low_b, high_b) = (interval(arm, level=level / 2) for arm in arms)
    difference = arms[1].share - arms[0].share
    evidence = math.exp(min(highest, 700.0))
    return AnytimeComparison(
        arms[0], arms[1], difference, low_b - high_a, high_b - low_a, evidence, level
    )


def interval(arm: Arm, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the share of thumbs up that a stream may have, whenever it is looked at.

    It holds every p for which B(up + 1, down + 1) / (p^up (1 - p)^down) stays under 1 / level.
    """
    if not arm.ratings:
        return 0.0, 1.0
    return _edge(arm, level, 0.0), _edge(arm, level, 1.0)


def _log_evidence(past: list[Arm], block: list[Arm]) -> float:
    """The logarithm of a block's e-variable, by what was known before it."""
    shares = [(arm.up + 1) / (arm.ratings + 2) for arm in past]
    sizes = [part.ratings for part in block]
    alike = sum(share * size for share, size in zip(shares, sizes, strict=True)) / sum(sizes)
    return sum(
        _log_likelihood(part, share) - _log_likelihood(part, alike)
        for part, share in zip(block, shares, strict=True)
    )


def _log_likelihood(arm: Arm, share: float) -> float:
    down = arm.ratings - arm.up
    up = arm.up * math.log(share) if arm.up else 0.0
    return up + (down * math.log1p(-share) if down else 0.0)


def _edge(arm: Arm, level: float, outer: float) -> float:
    """Find by halving where the mixture's evidence against a share falls to 1 / level."""
    down = arm.ratings - arm.up
    mixture = math.lgamma(arm.up + 1) + math.lgamma(down + 1) - math.lgamma(arm.ratings + 2)
    inside = arm.share
    if inside == outer:
        return outer
    for _ in range(50):
        middle = (inside + outer) / 2
        if mixture - _log_likelihood(arm, middle) < math.log(1 / level):
            inside = middle
        else:
            outer = middle
    return inside
