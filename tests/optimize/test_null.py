"""Labels dealt out at random: nothing can be learned, and nothing is shipped."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from ragwright.optimize import TrainingSet, compile_program, read_questions

from .conftest import recipe

pytestmark = pytest.mark.slow


def shuffled(questions: TrainingSet, seed: int) -> TrainingSet:
    labels = list(questions.questions)
    random.Random(seed).shuffle(labels)
    return TrainingSet(
        tuple(
            replace(item, answers=other.answers, documents=other.documents, evidence=other.evidence)
            for item, other in zip(questions.questions, labels, strict=True)
        )
    )


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_labels_keep_the_baseline(world: Path, tmp_path: Path, seed: int) -> None:
    asked = read_questions(world / "questions.jsonl").questions[:60]
    questions = shuffled(TrainingSet(asked), seed)
    settings = recipe(world, compile={"seed": seed, "retrieval_trials": 20})
    result = compile_program(settings, questions, run_dir=tmp_path / "run")
    assert result.verdict == "keep the baseline"
    assert result.gain.low <= 0
