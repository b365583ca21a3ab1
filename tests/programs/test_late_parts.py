"""Parts that are made when they are first asked for are found where they say what they are."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import dspy

from ragwright import HybridRetriever
from ragwright.programs import expose_knobs
from ragwright.programs.anatomy import copy_program, knobs_of, predictors_of


class Late(dspy.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self._said: dspy.Predict | None = None
        self.asked = 0

    @cached_property
    def search(self) -> HybridRetriever:
        return HybridRetriever(self.path)

    @property
    def said(self) -> dspy.Predict:
        if self._said is None:
            self._said = dspy.Predict("question -> answer")
        return self._said

    @property
    def anew(self) -> dspy.Predict:
        self.asked += 1
        return dspy.Predict("question -> answer")

    @cached_property
    def summary(self) -> str:
        raise AssertionError("not asked for")

    @cached_property
    def unsaid(self):  # type: ignore[no-untyped-def]
        raise AssertionError("not asked for")

    @cached_property
    def later(self) -> dspy.Predict:
        return dspy.Predict(vars(self)["signature"])  # that only a question brings


def test_what_is_annotated_is_found_and_nothing_else_is_asked() -> None:
    program = Late("index")
    assert [*knobs_of(program)] == ["search.knobs"]
    assert predictors_of(program) == [program.said]
    assert program.asked == 0
    assert knobs_of(copy_program(program))["search.knobs"] is not program.search.knobs


def test_dspys_own_load_finds_it_in_a_program_that_exposes_its_knobs(tmp_path: Path) -> None:
    programs = Late("index"), Late("index")
    for program in programs:
        expose_knobs(program)
    first, again = programs
    first.search.knobs.values = first.search.knobs.values.replaced(k=3)
    first.save(tmp_path / "state.json")
    again.load(tmp_path / "state.json")
    assert again.search.knobs.values.k == 3
