"""Means that a few labels of a person correct: they cover the truth, and good judges help."""

from __future__ import annotations

import numpy as np
import pytest

from ragwright.optimize.scoring.labelled import CorrectedMean, correct_mean

N, LABELS, REPEATS = 300, 40, 1000


def drawn(
    rng: np.random.Generator, *, error: float, shift: float
) -> tuple[CorrectedMean, CorrectedMean]:
    """One set of answers: judged with an error and a shift; with the judge, and labels alone."""
    truth = (rng.random(N) < 0.6).astype(np.float64)
    flipped = np.where(rng.random(N) < error, 1 - truth, truth)
    judged = np.clip(flipped + shift, 0, 1)
    labelled = np.zeros(N, dtype=np.bool_)
    labelled[rng.permutation(N)[:LABELS]] = True
    labels = truth[labelled]
    return correct_mean(judged, labelled, labels), correct_mean(np.zeros(N), labelled, labels)


@pytest.mark.parametrize(("error", "shift"), [(0.05, 0.0), (0.2, 0.0), (0.5, 0.0), (0.1, 0.3)])
def test_intervals_cover_the_truth_19_times_of_20(error: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    found = [drawn(rng, error=error, shift=shift)[0] for _ in range(REPEATS)]
    covered = np.mean([one.low <= 0.6 <= one.high for one in found])
    # 1,000 draws of a true 0.95 stray by 0.014; few labels cost a little more.
    assert 0.93 <= covered <= 0.985
    assert abs(np.mean([one.mean for one in found]) - 0.6) < 0.01


def test_a_good_judge_shortens_the_interval_and_a_useless_one_does_no_harm() -> None:
    rng = np.random.default_rng(1)
    widths = {}
    for error in (0.05, 0.5):
        pairs = [drawn(rng, error=error, shift=0.0) for _ in range(200)]
        widths[error] = np.mean([(a.high - a.low) / (b.high - b.low) for a, b in pairs])
    assert widths[0.05] < 0.75
    assert widths[0.5] < 1.02


def test_a_judge_that_is_always_kind_is_corrected() -> None:
    rng = np.random.default_rng(2)
    found, _ = drawn(rng, error=0.0, shift=1.0)
    assert found.judged == 1.0
    assert found.low < 0.6 < found.high
    assert found.weight == 0


def test_where_all_are_labelled_the_labels_are_the_mean() -> None:
    labels = np.array([1.0, 0.0, 1.0, 1.0])
    found = correct_mean(np.zeros(4), np.ones(4, dtype=np.bool_), labels)
    assert (found.mean, found.labels, found.n) == (0.75, 4, 4)
    with pytest.raises(ValueError, match="1 labels"):
        correct_mean(np.zeros(4), np.array([True, False, False, False]), labels[:1])
