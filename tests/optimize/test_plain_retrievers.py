"""The programs of first tutorials are compiled as they are, saved, loaded and served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest

from ragwright import (
    ChromaRetriever,
    HybridRetriever,
    MaxSim,
    RerankRetriever,
    load,
    save,
)
from ragwright.optimize.joint import JointOptimizer
from ragwright.optimize.setting import setting_of
from ragwright.programs.build import build_program
from ragwright.programs.lm import build_lm
from ragwright.retrievers.errors import ArtifactError
from tests.outside.first_tutorial import Tutorial

from .conftest import recipe
from .test_joint import examples, found

pytestmark = pytest.mark.slow

MODULE = "tests.outside.first_tutorial"
QUESTION = "What grows in town 3?"


def compiled(program: dspy.Module, run: Path, rm: Any = None) -> Any:
    made = JointOptimizer(
        metric=found, prompts="none", lm=build_lm("extractive"), run_dir=run, retrieval_trials=4
    )
    with dspy.context(rm=rm):
        return made.compile(program, trainset=examples())


class Holds(dspy.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.search = ChromaRetriever(path, k=2)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(context=self.search(question).passages, question=question)


def test_the_first_program_of_a_tutorial_is_tuned(world: Path, tmp_path: Path) -> None:
    rm = ChromaRetriever(str(world / "index"))
    tuned = compiled(Tutorial(), tmp_path / "run", rm)
    result = tuned.compile_result
    assert type(tuned) is Tutorial
    assert list(result.setting) == ["retrieve.knobs"]
    assert any("'retrieve' was a Retrieve" in note for note in result.notes)
    lm = build_lm("extractive")
    home = tmp_path / "artifact"
    save(tuned, home)
    for again in (load(home, program=Tutorial()), load(home, trust=[MODULE])):
        assert setting_of(again) == setting_of(tuned)
        with dspy.context(lm=lm):
            assert again(question=QUESTION).toDict() == tuned(question=QUESTION).toDict()


def test_a_stage_that_was_the_rm_has_to_be_it_again(world: Path, tmp_path: Path) -> None:
    path = str(world / "index")
    rm = RerankRetriever(HybridRetriever(path), MaxSim(path))
    program: Any = Tutorial()
    with dspy.context(rm=rm):
        tuned = compiled(program, tmp_path / "run", rm)
        save(tuned, tmp_path / "artifact")
        again = load(tmp_path / "artifact", program=Tutorial())
    assert setting_of(again) == setting_of(tuned)
    with pytest.raises(ArtifactError, match=r"was RerankRetriever.*is HybridRetriever") as refused:
        load(tmp_path / "artifact", program=Tutorial())
    with dspy.context(rm=lambda query, k: []), pytest.raises(ArtifactError):
        load(tmp_path / "artifact", program=Tutorial())
    assert "dspy.configure(rm=...)" in refused.value.hint


def test_a_program_that_holds_a_retriever_is_tuned(world: Path, tmp_path: Path) -> None:
    path = str(world / "index")
    save(Holds(path), tmp_path / "plain")  # as it is: what was saved before a compile is loaded
    plain: Any = load(tmp_path / "plain", program=Holds(path))
    assert type(plain.search) is ChromaRetriever
    tuned = compiled(Holds(path), tmp_path / "run")
    assert list(tuned.compile_result.setting) == ["search.knobs"]
    save(tuned, tmp_path / "artifact")
    again = load(tmp_path / "artifact", program=Holds(path))
    assert setting_of(again) == setting_of(tuned)


def test_a_recipe_says_where_dspy_retrieve_searches(world: Path) -> None:
    program: Any = build_program(
        recipe(world, program={"kind": f"{MODULE}:Tutorial"}).trusting([MODULE])
    )
    assert program.retrieve.path == str(world / "index")
    assert program.retrieve.knobs.values.k == 3
    line = json.loads((world / "questions.jsonl").read_text().splitlines()[0])
    passages = program.retrieve(line["question"]).passages
    assert len(passages) == 3
