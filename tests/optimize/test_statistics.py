from __future__ import annotations

import numpy as np
import pytest

from optimize.statistics import compare, mean_interval


def test_a_clear_gain_is_shipped() -> None:
    rng = np.random.default_rng(1)
    baseline = rng.random(100)
    gain = compare(baseline, baseline + 0.1 + rng.normal(0, 0.05, 100))
    assert gain.gain == pytest.approx(0.1, abs=0.02)
    assert 0.08 < gain.low < gain.gain < gain.high < 0.12
    assert gain.p < 0.001
    assert gain.verdict == "ship"


def test_no_gain_keeps_the_baseline() -> None:
    scores = np.array([0.0, 1.0, 0.5])
    gain = compare(scores, scores)
    assert (gain.gain, gain.low, gain.high, gain.p) == (0.0, 0.0, 0.0, 1.0)
    assert (gain.wins, gain.losses, gain.verdict) == (0, 0, "keep the baseline")


def test_a_loss_keeps_the_baseline() -> None:
    baseline = np.ones(30)
    assert compare(baseline, np.zeros(30)).verdict == "keep the baseline"


def test_the_interval_of_a_mean_covers_it_about_19_times_of_20() -> None:
    rng = np.random.default_rng(2)
    intervals = [mean_interval(rng.random(60)) for _ in range(100)]
    covered = sum(found.low <= 0.5 <= found.high for found in intervals)
    assert 88 <= covered <= 100


def test_pure_noise_is_rarely_shipped() -> None:
    rng = np.random.default_rng(3)
    shipped = [
        compare(rng.random(80), rng.random(80), seed=seed).verdict == "ship" for seed in range(60)
    ]
    assert sum(shipped) <= 5


def test_the_detectable_gain_shrinks_with_the_root_of_n() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.random(400), rng.random(400)
    few, many = compare(first[:100], second[:100]), compare(first, second)
    assert few.detectable == pytest.approx(2.8 * np.std(second[:100] - first[:100], ddof=1) / 10,
                                           rel=0.01)  # fmt: skip
    assert many.detectable == pytest.approx(few.detectable / 2, rel=0.2)


def test_small_samples_get_an_exact_p() -> None:
    gain = compare(np.zeros(5), np.ones(5))
    assert gain.p == pytest.approx(2 / 32)
