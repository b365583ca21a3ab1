"""Answers choose among indexes where evidence cannot, within their share of what may be spent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragwright.optimize import compile_program, write_report
from ragwright.optimize.accounts import RunModels
from ragwright.optimize.compile import Run, answers_for_variants, split_questions
from ragwright.optimize.questions.data import Question, read_questions
from ragwright.optimize.result import CompileResult
from ragwright.optimize.scoring.metrics import build_metric
from ragwright.optimize.scoring.statistics import Scores
from ragwright.optimize.spending.budget import Caps
from ragwright.optimize.variant_answers import STAGE, AnswerScores
from ragwright.optimize.variant_decision import OWN, decide_variant
from ragwright.optimize.variants import choose_variant
from ragwright.programs.build import build_program
from ragwright.programs.lm import build_lm
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.index import close_index

COUNT = 24
EVIDENCE = [Question(str(n), "?", ("x",), evidence=("a b c d e",)) for n in range(COUNT)]
BARE = [Question(str(n), "?", ("x",)) for n in range(COUNT)]


class Told:
    """Gives set answers, and keeps which indexes were asked about."""

    def __init__(self, **scores: Scores) -> None:
        self.scores = scores
        self.asked: list[str] = []

    def answered(
        self, recipes: Mapping[str, Recipe], questions: Sequence[Question]
    ) -> AnswerScores:
        self.asked.extend(recipes)
        return AnswerScores({name: self.scores[name] for name in recipes}, 7)


def noisy(mean: float, seed: int = 0, count: int = COUNT) -> Scores:
    noise = np.random.default_rng(seed).normal(0, 0.1, count)
    return mean + noise - noise.mean()


def choose(held: dict[str, Scores], questions: list[Question], by: Any) -> Any:
    recipes = {name: Recipe.checked({"name": name}) for name in held}
    return decide_variant(recipes, held, questions, by)


def test_where_evidence_tells_nothing_is_asked() -> None:
    by = Told()
    done = choose({OWN: noisy(0.3), "a": noisy(0.6, 1), "b": noisy(0.1, 2)}, EVIDENCE, by)
    assert (done.chosen, done.why, done.calls) == ("a", "", 0)
    assert by.asked == []


def test_answers_choose_among_those_that_hold_alike() -> None:
    held = {OWN: noisy(0.5), "a": noisy(0.51, 1), "b": noisy(0.1, 2)}
    by = Told(recipe=noisy(0.2), a=noisy(0.5, 3))
    done = choose(held, EVIDENCE, by)
    assert sorted(by.asked) == ["a", OWN]
    assert (done.chosen, done.answered, done.calls) == ("a", COUNT, 7)
    assert "differs by no more than a standard error" in done.why
    assert "a 0.4" in done.why or "a 0.5" in done.why


def test_the_own_index_is_given_up_only_for_surely_better_answers() -> None:
    held = {OWN: noisy(0.5), "a": noisy(0.5, 1)}
    own = noisy(0.3, 5)
    assert choose(held, EVIDENCE, Told(recipe=own, a=own + noisy(0.001, 6))).chosen == OWN
    assert choose(held, EVIDENCE, Told(recipe=own, a=own + 0.01)).chosen == "a"
    few = choose(held, EVIDENCE, Told(recipe=own[:8], a=own[:8] + 0.5))
    assert (few.chosen, few.answers) == (OWN, {})
    assert "Too few questions" in few.why
    silent = choose(held, EVIDENCE, None)
    assert (silent.chosen, "No answers were asked for" in silent.why) == (OWN, True)


def test_without_evidence_answers_choose_whatever_is_held() -> None:
    by = Told(recipe=noisy(0.5), a=noisy(0.2, 1))
    done = choose({OWN: noisy(0.1), "a": noisy(0.9, 1)}, BARE, by)
    assert done.chosen == OWN
    assert "have no evidence" in done.why
    named = [replace(one, documents=("d",)) for one in BARE]  # an answer in a named document
    assert choose({OWN: noisy(0.1), "a": noisy(0.9, 1)}, named, None).chosen == "a"


TOWNS = [f"{first}{last}" for first in ("Bel", "Cor", "Dun", "Fal", "Gar", "Hol")
         for last in ("ford", "wick", "ton", "ham", "by", "mouth", "stead", "gate", "combe",
                      "well")]  # fmt: skip
FILLER = "The harbour office keeps long records of tides, tolls, storms and visiting ships there. "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A town a paragraph, all of them in one document: large chunks hold the years of several."""
    home = tmp_path_factory.mktemp("towns")
    told = [f"The mayor of {name} was chosen in the year {1500 + 7 * n} by the guild."
            for n, name in enumerate(TOWNS)]  # fmt: skip
    row = {"_id": "towns", "title": "", "text": "\n\n".join(f"{FILLER}{one} {FILLER}"
                                                             for one in told)}  # fmt: skip
    (home / "documents.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    asked = [{"question": f"In which year was the mayor of {name} chosen?",
              "answer": str(1500 + 7 * n)} for n, name in enumerate(TOWNS)]  # fmt: skip
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    (home / "questions.jsonl").write_text(lines, encoding="utf-8")
    yield home
    for path in home.glob("index*"):
        close_index(path)


RECIPE = """
name = "towns"
[index]
path = "index"
documents = "documents.jsonl"
embedder = "hash"
chunking = { size = 200 }
[index.variants.small]
chunking = { size = 24 }
[knobs]
k = 1
[baseline]
k = 1
[data]
trainset = "questions.jsonl"
[compile]
variants = ["small"]
variant_calls = %d
optimizer = "none"
retrieval_trials = 0
shortlist = 1
threads = 2
"""


def recipe_in(folder: Path, calls: int = 200) -> Recipe:
    file = folder / "recipe.toml"
    file.write_text(RECIPE % calls, encoding="utf-8")
    return Recipe.from_toml(file)


def test_a_compile_without_evidence_asks_and_says_so(folder: Path, tmp_path: Path) -> None:
    result: CompileResult = compile_program(recipe_in(folder), run_dir=tmp_path / "run")
    found = result.variants
    assert found is not None
    assert (found.answered, found.calls) == (36, 72)
    answers = {row.name: row.answers for row in found.rows}
    assert answers["small"] is not None
    assert answers[OWN] is not None
    spent = {stage.stage: stage.calls + stage.repeated for stage in result.spend}
    assert spent[STAGE] == found.calls
    assert "36 questions were answered over each (72 calls)" in found.described
    report = (write_report(result, tmp_path / "report") / "report.md").read_text(encoding="utf-8")
    assert "| answers |" in report
    assert found.why in report
    again, known = choose_variant(recipe_in(folder), result.splits, folder=tmp_path / "run")
    assert known == found
    assert again.index.path == result.recipe.index.path


@pytest.mark.parametrize(
    ("calls", "caps", "answered", "most"),
    [(200, Caps(), 36, 72), (40, Caps(), 20, 40), (200, Caps(calls=160), 20, 40), (0, Caps(), 0, 0),
     (200, Caps(seconds=0), 0, 0)],
)  # fmt: skip
def test_it_costs_a_share_at_most(
    folder: Path, tmp_path: Path, calls: int, caps: Caps, answered: int, most: int
) -> None:
    recipe = recipe_in(folder, calls)
    splits = split_questions(recipe, read_questions(recipe.data.trainset).questions)
    models, metric = RunModels(build_lm("extractive")), build_metric("answer_f1", threshold=0.6)
    by = answers_for_variants(build_program, models, metric, Run(tmp_path, caps=caps))
    _, found = choose_variant(recipe, splits, folder=tmp_path, by=by)
    assert found is not None
    assert (found.answered, found.calls) == (answered, most)
