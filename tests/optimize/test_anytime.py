"""Thumbs judged at every look: seldom wrong where nothing differs, right where it does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ragwright.optimize.scoring.anytime import Arm, compare_thumbs, interval

RUNS = 300
RATINGS = 200


def _thumbs(drawn: np.random.Generator, share: float, up: tuple[float, float]) -> list[
    tuple[bool, bool]
]:  # fmt: skip
    candidate = drawn.random(RATINGS) < share
    ups = drawn.random(RATINGS) < np.where(candidate, up[1], up[0])
    return list(zip(candidate.tolist(), ups.tolist(), strict=True))


def _decided(share: float, up: tuple[float, float]) -> float:
    """The share of runs that decide at any look: the e-value is the highest of all looks."""
    drawn = np.random.default_rng(0)
    found = [compare_thumbs(_thumbs(drawn, share, up)) for _ in range(RUNS)]
    return float(np.mean([one.verdict != "not decided" for one in found]))


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("up", [0.5, 0.9])
def test_stopping_at_the_first_find_is_wrong_no_more_often_than_allowed(
    share: float, up: float
) -> None:
    assert _decided(share, (up, up)) <= 0.05


def test_a_real_difference_is_found_and_named() -> None:
    assert _decided(0.5, (0.4, 0.75)) > 0.8
    better = compare_thumbs([(False, False), (True, True)] * 30)
    assert (better.verdict, better.difference) == ("better", 1.0)
    worse = compare_thumbs([(True, False), (False, True)] * 30)
    assert (worse.verdict, worse.p < 0.001) == ("worse", True)


def test_an_interval_holds_the_truth_at_every_look() -> None:
    drawn = np.random.default_rng(1)
    missed = 0
    for _ in range(RUNS):
        ups = np.cumsum(drawn.random(60) < 0.7).tolist()
        ends = [interval(Arm(n, up)) for n, up in enumerate(ups, start=1)]
        missed += not all(low <= 0.7 <= high for low, high in ends)
    assert missed / RUNS <= 0.05
    assert interval(Arm()) == (0.0, 1.0)
    low, high = interval(Arm(100, 100))
    assert 0.9 < low < high == 1.0


def test_one_arm_alone_decides_nothing() -> None:
    found = compare_thumbs([(True, True)] * 100)
    assert (found.verdict, found.p, found.incumbent.ratings) == ("not decided", 1.0, 0)
    assert math.isnan(found.difference)
    assert (found.low, found.high) == pytest.approx((-0.07, 1.0), abs=0.1)
