"""A thousand settings on 300 questions: nothing is opened, searched, embedded or asked."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest

from ragwright.optimize.questions.data import read_questions
from ragwright.optimize.retrieval.relevance import Relevance
from ragwright.optimize.retrieval.replay import LabelledCandidates
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.study.pooling import fetch_study_questions
from ragwright.programs.build import build_program
from ragwright.programs.knobs import KnobValues
from ragwright.programs.lm import build_lm
from ragwright.retrievers.index import Index

from .conftest import recipe

SETTINGS, QUESTIONS = 1000, 300


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count every call of an index's public methods and of language models."""
    calls: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            calls[name] += 1
            return function(*values, **named)

        return call

    with monkeypatch.context() as patch:
        for name, function in vars(Index).items():
            if callable(function) and not name.startswith("_"):
                patch.setattr(Index, name, counting(f"index.{name}", function))
        asked = counting("language model", dspy.BaseLM.__call__)
        patch.setattr(dspy.BaseLM, "__call__", asked)
        yield calls


def settings() -> Iterator[KnobValues]:
    draw = random.Random(0)
    for _ in range(SETTINGS):
        yield KnobValues(
            weight_dense=draw.uniform(0.01, 1),
            weight_bm25=draw.random(),
            weight_maxsim=draw.random(),
            rerank_depth=draw.randint(1, 60),
            k=draw.randint(1, 12),
            context_tokens=draw.choice([120, 2000]),
        )


def test_a_thousand_settings_call_nothing(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fetch_study_questions(
        recipe(world), read_questions(world / "questions.jsonl").questions
    )
    once = found.labelled()
    rows = [row % len(found.questions) for row in range(QUESTIONS)]
    relevance = once.relevance
    labelled = LabelledCandidates(
        once.candidates.take(rows),
        Relevance(
            relevance.facts[rows], relevance.units[rows], relevance.ideal[rows],
            tuple(relevance.held[row] for row in rows), relevance.answers[rows],
        ),
    )  # fmt: skip
    metric = RankingMetric.parse("ndcg@10")
    program = build_program(recipe(world))
    program.set_lm(build_lm("extractive"))
    with counted(monkeypatch) as calls:
        means = [float(np.nanmean(labelled.scores(knobs, metric))) for knobs in settings()]
        assert calls == {}
        program(question=found.questions[0].question)
    assert len(set(means)) > SETTINGS / 10
    assert calls["language model"] >= 1, "a live answer is counted"
    assert sum(calls.values()) > calls["language model"], "and so is a live search"
