from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.retrievers.errors import InputError

GAINS = np.array([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
IDEAL = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])


def score(name: str) -> list[float]:
    return RankingMetric.parse(name)(GAINS, IDEAL).tolist()


def test_each_metric_on_a_ranking_worked_out_by_hand() -> None:
    discounts = 1 / np.log2([2, 3, 4, 5])
    wanted = (discounts[1] + discounts[3]) / discounts[:3].sum()
    assert score("ndcg@10")[:2] == pytest.approx([wanted, 1.0])
    assert score("recall@4")[:2] == pytest.approx([2 / 3, 1.0])
    assert score("recall@2")[:2] == pytest.approx([1 / 3, 1.0])
    assert score("precision@4")[:2] == pytest.approx([0.5, 0.25])
    assert score("precision@8")[:2] == pytest.approx([0.25, 0.125])
    assert score("mrr@10")[:2] == pytest.approx([0.5, 1.0])
    assert score("map@10")[:2] == pytest.approx([(1 / 2 + 2 / 4) / 3, 1.0])


@pytest.mark.parametrize("name", ["ndcg@5", "recall@5", "precision@5", "mrr", "map"])
def test_a_question_with_nothing_to_find_has_no_score(name: str) -> None:
    assert np.isnan(score(name)[2])


def test_ndcg_and_map_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    relevant = (rng.random((50, 10)) < 0.3).astype(float)
    relevant[:, 0] = 1.0
    relevant = rng.permuted(relevant, axis=1)
    ranks = np.arange(10, 0, -1, dtype=float)
    ideal = np.sort(relevant, axis=1)[:, ::-1]
    ndcg = RankingMetric.parse("ndcg@10")(relevant, ideal)
    average = RankingMetric.parse("map@10")(relevant, ideal)
    assert ndcg == pytest.approx([ndcg_score([row], [ranks]) for row in relevant])
    assert average == pytest.approx([average_precision_score(row, ranks) for row in relevant])


@pytest.mark.parametrize("name", ["ndgc@10", "recall@0", "recall@51", "recall@", "", "f1@3"])
def test_an_unknown_metric_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="No retrieval metric"):
        RankingMetric.parse(name)
