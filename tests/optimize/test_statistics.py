from __future__ import annotations

import numpy as np
import pytest

from ragwright.optimize.scoring.statistics import (
    Mean,
    Power,
    Scores,
    holm_correction,
    least_p,
    mean_interval,
    paired_gain,
)


def test_a_clear_gain_is_shipped() -> None:
    rng = np.random.default_rng(1)
    baseline = rng.random(100)
    gain = paired_gain(baseline, baseline + 0.1 + rng.normal(0, 0.05, 100))
    assert gain.gain == pytest.approx(0.1, abs=0.02)
    assert 0.08 < gain.low < gain.gain < gain.high < 0.12
    assert gain.p < 0.001
    assert gain.verdict == "ship"


def test_no_gain_keeps_the_baseline() -> None:
    scores = np.array([0.0, 1.0, 0.5])
    gain = paired_gain(scores, scores)
    assert (gain.gain, gain.low, gain.high, gain.p) == (0.0, 0.0, 0.0, 1.0)
    assert (gain.wins, gain.losses, gain.verdict) == (0, 0, "keep the baseline")


def test_a_loss_keeps_the_baseline() -> None:
    baseline = np.ones(30)
    assert paired_gain(baseline, np.zeros(30)).verdict == "keep the baseline"


def test_the_interval_of_a_mean_covers_it_about_19_times_of_20() -> None:
    rng = np.random.default_rng(2)
    intervals = [mean_interval(rng.random(60)) for _ in range(100)]
    covered = sum(found.low <= 0.5 <= found.high for found in intervals)
    assert 88 <= covered <= 100


def test_pure_noise_is_rarely_shipped() -> None:
    rng = np.random.default_rng(3)
    shipped = [
        paired_gain(rng.random(80), rng.random(80), seed=seed).verdict == "ship"
        for seed in range(60)
    ]
    assert sum(shipped) <= 5


def test_the_detectable_gain_shrinks_with_the_root_of_n() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.random(400), rng.random(400)
    few, many = paired_gain(first[:100], second[:100]), paired_gain(first, second)
    assert few.detectable == pytest.approx(2.8 * np.std(second[:100] - first[:100], ddof=1) / 10,
                                           rel=0.01)  # fmt: skip
    assert many.detectable == pytest.approx(few.detectable / 2, rel=0.2)


def test_small_samples_get_an_exact_p() -> None:
    gain = paired_gain(np.zeros(5), np.ones(5))
    assert gain.p == pytest.approx(2 / 32)


def clustered(rng: np.random.Generator, groups: int, size: int) -> tuple[Scores, list[str]]:
    """Differences that are alike inside a group and 0 on average."""
    names = [str(number // size) for number in range(groups * size)]
    noise = rng.normal(0, 0.3, groups * size)
    return np.repeat(rng.normal(0, 0.3, groups), size) + noise, names


def test_questions_of_one_group_count_once() -> None:
    rng = np.random.default_rng(5)
    alone, together = [], []
    for seed in range(80):
        scores, names = clustered(rng, 12, 8)
        alone.append(mean_interval(scores, seed=seed))
        together.append(mean_interval(scores, groups=names, seed=seed))
    # Taken for independent, 8 questions an article make an interval that fails half of the time.
    assert sum(found.low <= 0 <= found.high for found in alone) <= 60
    assert sum(found.low <= 0 <= found.high for found in together) >= 72


def test_noise_in_groups_is_rarely_shipped_nor_called_significant() -> None:
    rng = np.random.default_rng(6)
    gains = []
    for seed in range(60):
        scores, names = clustered(rng, 10, 6)
        gains.append(paired_gain(np.zeros(60), scores, groups=names, seed=seed))
    assert sum(gain.verdict == "ship" for gain in gains) <= 5
    assert sum(gain.p < 0.05 for gain in gains) <= 8
    assert {gain.resampled for gain in gains} == {"10 groups"}


def test_groups_of_one_question_and_a_single_group_change_nothing() -> None:
    rng = np.random.default_rng(7)
    first, second = rng.random(40), rng.random(40)
    plain = paired_gain(first, second)
    assert paired_gain(first, second, groups=[str(number) for number in range(40)]) == plain
    assert paired_gain(first, second, groups=["one"] * 40) == plain
    assert plain.resampled == "40 questions"


def test_groups_make_the_detectable_gain_larger() -> None:
    scores, names = clustered(np.random.default_rng(8), 12, 8)
    alone = paired_gain(np.zeros(96), scores)
    together = paired_gain(np.zeros(96), scores, groups=names)
    assert together.detectable > 1.5 * alone.detectable
    assert together.gain == pytest.approx(alone.gain)


def test_holms_correction_by_hand() -> None:
    corrected = holm_correction({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.9})
    assert corrected == pytest.approx({"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.9})
    assert holm_correction({}) == {}


def test_one_question_says_nothing_of_others() -> None:
    assert mean_interval(np.array([0.6])) == Mean(0.6, 0.0, 1.0)
    gain = paired_gain(np.array([0.0]), np.array([1.0]))
    assert (gain.low, gain.high, gain.verdict) == (-1.0, 1.0, "keep the baseline")


def test_with_so_few_groups_that_no_p_can_be_small_nothing_is_shipped() -> None:
    for count, verdict in ((5, "keep the baseline"), (6, "ship"), (30, "ship")):
        gain = paired_gain(np.zeros(count), np.ones(count))
        assert gain.p == pytest.approx(least_p(count))
        assert gain.verdict == verdict


@pytest.mark.parametrize(("won", "verdict"), [(4, "keep the baseline"), (7, "ship")])
def test_an_interval_above_0_is_no_proof_where_few_answers_differ(won: int, verdict: str) -> None:
    gain = paired_gain(np.zeros(32), (np.arange(32) < won).astype(float))
    assert gain.low > 0
    assert gain.p == pytest.approx(2.0 ** (1 - won), abs=0.01)
    assert gain.verdict == verdict


def test_what_a_test_set_can_show_is_known_before() -> None:
    few = Power.of([f"article {number % 5}" for number in range(100)])
    assert (few.n, few.groups, few.least_p) == (100, 5, 1 / 16)
    assert "No gain can be proved" in str(few)
    assert "group" in str(few)
    many = Power.of([f"{number}" for number in range(100)])
    assert many.detectable == pytest.approx(2.8 * 0.4 / 10, rel=0.01)
    assert few.detectable > 4 * many.detectable
    assert "No gain" not in str(many)
    assert Power.of(["one"] * 100) == many
    assert few.detectable_apart == many.detectable == many.detectable_apart
    assert "about 0.11 (each question for itself) to 0.50 (groups as one)" in str(few)
    assert "about 0.11 or more" in str(many)
