from __future__ import annotations

import dspy
import pytest

from optimize.metrics import build_metric, citation_scores, exact_match, token_f1
from retrievers.errors import InputError
from retrievers.types import Passage


def gold(**values: object) -> dspy.Example:
    return dspy.Example(**{"answers": ["x"], "documents": [], "evidence": [], **values})


def cited(*citations: int) -> dspy.Prediction:
    texts = {"d1": "Ada wrote the first program.", "d2": "Bo wrote none.", "d3": "Cy, too."}
    passages = [Passage(text, metadata={"document": key}) for key, text in texts.items()]
    return dspy.Prediction(answer="x", passages=passages, citations=list(citations))


def test_answers_are_compared_as_squad_does() -> None:
    assert exact_match("The Denver Broncos!", ["denver broncos"]) == 1
    assert exact_match("Denver", ["denver broncos"]) == 0
    assert token_f1("the Denver team", ["Carolina", "Denver Broncos"]) == pytest.approx(0.5)
    assert token_f1("a cat a cat", ["cat"]) == pytest.approx(2 / 3)
    assert token_f1("", ["cat"]) == 0
    assert token_f1("the", ["a"]) == 1


def test_citations_are_judged_by_evidence_first() -> None:
    wanted = gold(evidence=["wrote the  first program", "Cy"], documents=["d2"])
    assert citation_scores(wanted, cited(1, 2)) == (0.5, 0.5)
    assert citation_scores(wanted, cited(1, 3)) == (1.0, 1.0)
    assert citation_scores(wanted, cited()) == (0.0, 0.0)


def test_without_evidence_citations_are_judged_by_document() -> None:
    assert citation_scores(gold(documents=["d2"]), cited(1, 2)) == (0.5, 1.0)


def test_a_citation_of_no_passage_is_wrong() -> None:
    assert citation_scores(gold(documents=["d2"]), cited(2, 9)) == (0.5, 1.0)


def test_half_a_snippet_counts_only_in_the_right_document() -> None:
    cut = "wrote the first program. And then a second one, which"
    assert citation_scores(gold(evidence=[cut], documents=["d2"]), cited(1)) == (0.0, 0.0)
    whole = "Ada wrote the first program. It ran for years."
    assert citation_scores(gold(evidence=[whole], documents=["d1"]), cited(1)) == (1.0, 1.0)


def test_a_composite_is_a_weighted_mean() -> None:
    metric = build_metric("0.6*answer_em + 0.2*citation_f1")
    wanted = gold(answers=["x"], documents=["d1"])
    assert metric(wanted, cited(1)) == 1
    assert metric(wanted, cited(2)) == pytest.approx(0.75)


def test_a_trace_gets_a_strict_bool() -> None:
    metric = build_metric("answer_f1", threshold=0.6)
    half = dspy.Prediction(answer="x y z")
    assert metric(gold(), half) == pytest.approx(0.5)
    assert metric(gold(), half, []) is False
    assert metric(gold(), cited(), []) is True


def test_a_prediction_without_an_answer_scores_nothing() -> None:
    assert build_metric("answer_f1")(gold(), dspy.Prediction()) == 0


@pytest.mark.parametrize(
    "spec", ["answer", "", "0.5*answer_f1 +", "0*answer_f1", "answer_f1 citation_f1", "1-answer_f1"]
)
def test_an_unknown_metric_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match="No metric"):
        build_metric(spec)
