"""Metrics that ask a language model: each scores a prediction from 0 to 1.

DSPy's own judges, handed what ours calls by other names. They need a model that writes.
"""

from __future__ import annotations

from functools import lru_cache

import dspy
from dspy.evaluate import SemanticF1
from dspy.evaluate.auto_evaluation import AnswerGroundedness

from ragwright.optimize.questions.columns import answers_of, text_asked


def semantic_f1(gold: dspy.Example, pred: dspy.Prediction) -> float:
    """F1 of the key ideas of the answer and of the first accepted one (`dspy.SemanticF1`)."""
    example = dspy.Example(
        question=gold.get("question") or text_asked(gold), response=next(iter(answers_of(gold)), "")
    )
    judged = _semantic_f1()(example, dspy.Prediction(response=str(pred.get("answer") or "")))
    return _within(judged.score)


def groundedness(gold: dspy.Example, pred: dspy.Prediction) -> float:
    """Share of the answer's claims that the context supports (`dspy.AnswerGroundedness`)."""
    found = pred.get("context") or ()
    judged = _groundedness()(
        question=gold.get("question") or text_asked(gold),
        retrieved_context="\n".join(map(str, [found] if isinstance(found, str) else found)),
        system_response=str(pred.get("answer") or ""),
    )
    return _within(judged.groundedness)


JUDGES = {"semantic_f1": semantic_f1, "groundedness": groundedness}


@lru_cache(maxsize=1)
def _semantic_f1() -> dspy.Module:
    return SemanticF1()


@lru_cache(maxsize=1)
def _groundedness() -> dspy.Module:
    return dspy.ChainOfThought(AnswerGroundedness)


def _within(score: float) -> float:
    return min(1.0, max(0.0, float(score)))
