from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import dspy
import numpy as np
import pytest
from dspy.utils import DummyLM

from ragwright.optimize.prompts.feedback import Feedback
from ragwright.optimize.prompts.lesson import Lesson
from ragwright.optimize.questions.data import from_examples, to_examples
from ragwright.optimize.scoring.metrics import (
    as_metric,
    build_metric,
    citation_scores,
    context_scores,
    exact_match,
    token_f1,
)
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Passage


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
    assert token_f1("the", ["a"]) == 0
    assert token_f1("A", ["a"]) == 1


@pytest.mark.parametrize(
    ("answer", "accepted", "score"),
    [("Yes.", "true", 1), ("False", "no", 1), ("No", "true", 0), ("true story", "yes", 0)],
)
def test_a_truth_value_is_yes_or_no(answer: str, accepted: str, score: float) -> None:
    assert (exact_match(answer, [accepted]), token_f1(answer, [accepted])) == (score, score)


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


def shouting(gold: dspy.Example, pred: dspy.Prediction, trace: object = None) -> dspy.Prediction:
    """A metric of a user's own."""
    loud = pred.answer.isupper()
    return dspy.Prediction(score=float(loud), feedback="" if loud else "Say it louder.")


def out_of_range(gold: dspy.Example, pred: dspy.Prediction) -> float:
    return 3.0


def too_few(gold: dspy.Example) -> float:
    return 1.0


HERE = "tests.optimize.test_metrics"


def test_what_the_model_read_is_judged_whether_cited_or_not() -> None:
    wanted = gold(evidence=["wrote the first program", "not there"])
    precision, recall = context_scores(wanted, cited())
    assert (round(precision, 3), recall) == (0.333, 0.5)
    assert build_metric("context_recall").needs_sources
    assert build_metric("context_recall")(wanted, cited()) == 0.5


def test_a_metric_of_ones_own_is_scored_and_heard() -> None:
    metric = build_metric(f"0.5*{HERE}:shouting + 0.5*answer_em")
    judged = metric.judged(gold(), dspy.Prediction(answer="x"))
    assert (judged.score, judged.feedback) == (0.5, "Say it louder.")
    assert metric(gold(), dspy.Prediction(answer="X")) == 1
    lesson = Lesson((), (), metric, 1, feedback=Feedback({"q": "not in pool"}))
    said = lesson.reflect(gold(id="q", answers=["y"]), dspy.Prediction(answer="x"), trace=[])
    assert said.score == 0
    assert said.feedback == (
        "Say it louder. Wrong: the answer was 'x', accepted is 'y'. "
        "No search found the passage that holds the answer."
    )
    assert lesson.judge(gold(), dspy.Prediction(answer="x"), trace=[]) is False
    assert lesson.judge(gold(), dspy.Prediction(answer="X"), trace=[]) is True


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("no.such.module:metric", "cannot be imported"),
        (f"{HERE}:missing", "cannot be imported"),
        (f"{HERE}:too_few", "cannot be called with a gold example and a prediction"),
    ],
)
def test_a_metric_that_cannot_work_is_refused_at_once(spec: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        build_metric(spec)


def test_a_metric_out_of_range_is_an_error() -> None:
    with pytest.raises(InputError, match=r"out_of_range' returned 3\.0"):
        build_metric(f"{HERE}:out_of_range")(gold(), dspy.Prediction(answer="x"))


def test_where_the_answer_was_lost_is_read_from_what_the_model_read() -> None:
    wanted = gold(id="q", answers=["Ada"], evidence=["wrote the first program"])
    said = Feedback().text(wanted, cited(2), right=False)
    assert "stood in the context and was misread. It stands in passage [1]; cited was [2]" in said


@pytest.mark.parametrize("labels", [
    {"answers": "Ada", "documents": "d1"}, {"answer": "Ada", "document": "d1"},
    {"answers": None, "answer": ["Ada"], "documents": ("d1",), "evidence": "the first program"},
])  # fmt: skip
def test_labels_are_read_as_examples_have_them(labels: dict[str, Any]) -> None:
    given = dspy.Example(question="Who?", **labels).with_inputs("question")
    (example,) = to_examples(from_examples([given]))
    said = cited(1, 2)
    said["answer"] = "Ada"
    scores = {name: build_metric(name)(example, said)
              for name in ("answer_f1", "answer_em", "citation_precision", "citation_recall",
                           "context_precision", "context_recall")}  # fmt: skip
    assert [*scores.values()] == pytest.approx([1, 1, 1 / 2, 1, 1 / 3, 1])


def test_a_judge_is_shown_a_context_that_is_one_text_as_it_is() -> None:
    lm = DummyLM([{"reasoning": "r", "groundedness": "1.0", "system_response_claims": "c",
                   "discussion": "d"}])  # fmt: skip
    metric = replace(build_metric("groundedness"), judge=lm)
    example = dspy.Example(topic="Which town?", answer="x").with_inputs("topic")
    metric(example, dspy.Prediction(answer="x", context="One text."))
    shown = lm.history[-1]["messages"][-1]["content"]
    assert "One text." in shown
    assert "Which town?" in shown


def test_a_metric_that_takes_a_predictors_name_is_heard_on_it() -> None:
    def detailed(gold: Any, pred: Any, trace: Any, pred_name: Any, pred_trace: Any) -> Any:
        if pred_name is None:
            return 0.0
        return dspy.Prediction(score=1.0, feedback=f"{pred_name} of {trace} did {pred_trace}")

    def strict(gold: Any, pred: Any, trace: Any = None) -> Any:
        return trace is None and dspy.Prediction(score=0.0, feedback="wrong town")

    said = {}
    for metric in (detailed, strict):
        lesson = Lesson((), (), as_metric(metric), 1)
        found = lesson.reflect(gold(), dspy.Prediction(answer="y"), ["t"], "search", ["p"])
        said[metric.__name__] = found.feedback
        assert found.score == 0
    assert said["detailed"].startswith("search of ['t'] did ['p'] Wrong")
    assert said["strict"].startswith("wrong town Wrong")


@pytest.mark.parametrize(("name", "field"), [("semantic_f1", "recall"), ("groundedness", None)])
def test_a_language_model_judges(name: str, field: str | None) -> None:
    said = {"reasoning": "r", "precision": "0.5", "recall": "1.0", "groundedness": "0.25",
            "system_response_claims": "c", "discussion": "d"}  # fmt: skip
    metric = replace(build_metric(name), judge=DummyLM([said]))
    assert metric.needs_writer
    example = gold(question="q?", answers=["Paris"])
    wanted = 2 / 3 if field else 0.25
    score = metric(example, dspy.Prediction(answer="It is Paris.", context=["[1] Paris."]))
    assert score == pytest.approx(wanted)


class _Judge(dspy.Module):
    def forward(self, example: dspy.Example, pred: dspy.Prediction, trace: object = None) -> float:
        return float(trace is None and example.answer == pred.answer)


def _with_default(
    gold: dspy.Example, pred: dspy.Prediction, trace: Any = None, most: int = 9
) -> bool:
    return len(pred.answer) <= most


def _with_detail(gold: Any, pred: Any, trace: Any, pred_name: Any, pred_trace: Any) -> float:
    return 1.0


def _with_own_third(gold: dspy.Example, pred: dspy.Prediction, least: float = 0.5) -> float:
    return least


@pytest.mark.parametrize(
    "metric",
    [
        dspy.evaluate.answer_exact_match, _Judge(), _with_default, _with_detail, _with_own_third,
        partial(_with_default, most=5), lambda *given: len(given) == 3, lambda gold, pred: True,
    ],
)  # fmt: skip
def test_arguments_with_defaults_of_their_own_are_left_to_the_metric(metric: Any) -> None:
    gold, pred = dspy.Example(answer="Lima"), dspy.Prediction(answer="Lima")
    assert as_metric(metric)(gold, pred) > 0


def test_what_a_metric_raises_is_told_from_what_a_program_raises() -> None:
    def broken(gold: dspy.Example, pred: dspy.Prediction) -> float:
        return float(gold.nothing)

    with pytest.raises(AttributeError) as raised:
        as_metric(broken)(dspy.Example(), dspy.Prediction())
    assert raised.value.__notes__ == ["raised by the metric"]


class Tensor:
    """A value as torch has it: a shape, and a number if that is empty."""

    def __init__(self, *values: float) -> None:
        self.values, self.shape = values, () if len(values) == 1 else (len(values),)

    def __float__(self) -> float:
        return self.values[0]


@pytest.mark.parametrize(
    "value",
    [0.5, np.float32(0.5), np.array(0.5), Decimal("0.5"), Fraction(1, 2), Tensor(0.5)],
)
def test_a_number_of_any_kind_is_a_score(value: Any) -> None:
    assert as_metric(lambda _gold, _pred: value).score(gold(), cited()) == 0.5


@pytest.mark.parametrize(
    "value", [None, "0.5", (0.5, "x"), np.array([1.0]), Tensor(0.5, 1.0), float("nan"), 1j]
)
def test_what_is_no_number_is_no_score(value: Any) -> None:
    with pytest.raises(InputError, match="returned"):
        as_metric(lambda _gold, _pred: value).score(gold(), cited())


def test_a_metric_that_would_have_to_be_awaited_is_refused() -> None:
    async def asked(_gold: Any, _pred: Any) -> float:
        return 1.0

    with pytest.raises(InputError, match="is async"):
        as_metric(asked)
