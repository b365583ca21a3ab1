"""Golden questions: kept with an artifact, refused when damaged, compared one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest

from ragwright.artifacts.golden import (
    GoldenAnswer,
    GoldenPassage,
    GoldenQuestion,
    compare_answers,
    dump_golden,
    read_golden,
    sample_questions,
)
from ragwright.artifacts.store import open_artifact, save
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import ArtifactError


def _places(*chunks: str) -> tuple[GoldenPassage, ...]:
    return tuple(GoldenPassage(chunk=chunk, document=f"d-{chunk}") for chunk in chunks)


def _golden(name: str = "q", **given: Any) -> GoldenQuestion:
    facts = {"answer": "Lima", "score": 1.0, "citations": (2,), "passages": _places("a", "b", "c")}
    return GoldenQuestion(
        id=name, question="Which city?", answers=("Lima",), given=GoldenAnswer(**{**facts, **given})
    )


def test_golden_questions_come_back(tmp_path: Path) -> None:
    questions = (_golden("1"), _golden("2", score=0.25, citations=(1, 3)))
    (tmp_path / "golden.json").write_text(dump_golden(questions))
    assert read_golden(tmp_path) == questions


def test_an_artifact_keeps_them_and_hashes_them(
    tmp_path: Path, program: dspy.Module, recipe: Recipe
) -> None:
    version = save(program, tmp_path / "artifact", recipe=recipe, golden=[_golden()])
    assert read_golden(version) == (_golden(),)
    assert "golden.json" in open_artifact(version).manifest.files
    (version / "golden.json").write_text(dump_golden([_golden(answer="Rome")]))
    with pytest.raises(ArtifactError, match="SHA-256"):
        open_artifact(version)


def test_an_artifact_without_any_has_none(home: Path) -> None:
    assert read_golden(home / "1") == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.update(format=2), "has format 2, and this release reads format 1"),
        (lambda table: table.update(extra=1), "extra: Extra inputs"),
        (lambda table: table["questions"][0].update(extra=1), "questions.0.extra: Extra"),
        (lambda table: table["questions"][0]["given"].update(citations=[4]), "of 3 passages"),
        (lambda table: table["questions"][0]["given"].update(citations=[0]), "of 3 passages"),
        (lambda table: table["questions"][0]["given"].update(score="high"), "score: .*number"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    table = json.loads(dump_golden([_golden()]))
    change(table)
    (tmp_path / "golden.json").write_text(json.dumps(table))
    with pytest.raises(ArtifactError, match=message):
        read_golden(tmp_path)


def test_a_sample_is_the_same_in_any_order() -> None:
    questions = [_golden(str(number)) for number in range(50)]
    chosen = sample_questions(questions, 10)
    assert len(chosen) == 10
    assert list(chosen) == [one for one in questions if one in chosen]
    assert set(sample_questions(questions[::-1], 10)) == set(chosen)
    assert sample_questions(questions, 80) == tuple(questions)


def test_nothing_moved() -> None:
    golden = _golden()
    found = compare_answers(golden, golden.given, {"a", "b", "c"})
    assert (found.passages_moved, found.answer_moved, found.gain) == (False, False, 0.0)
    assert (found.gone, found.displaced, found.new) == ((), (), ())


def test_what_moved_is_told_apart() -> None:
    now = GoldenAnswer(answer="Rome", score=0.25, passages=_places("c", "x"))
    found = compare_answers(_golden(), now, {"b", "c"})
    assert (found.gone, found.displaced, found.new) == (("a",), ("b",), ("x",))
    assert (found.passages_moved, found.answer_moved, found.gain) == (True, True, -0.75)


@pytest.mark.parametrize(
    ("given", "now", "held", "cause"),
    [
        ({}, {"error": "Timeout"}, {"a"}, "failed"),
        ({}, {"passages": _places("a", "c")}, {"a", "c"}, "documents changed"),
        ({}, {"passages": _places("a", "c")}, {"a", "b", "c"}, "displaced"),
        ({}, {"passages": _places("b", "c")}, {"b", "c"}, "answered differently"),
        ({"citations": ()}, {"passages": _places("b", "c")}, {"b", "c"}, "documents changed"),
    ],
)
def test_the_cause_is_judged_by_what_was_cited(
    given: dict[str, Any], now: dict[str, Any], held: set[str], cause: str
) -> None:
    after = GoldenAnswer(**{"answer": "", "score": 0.0, **now})
    assert compare_answers(_golden(**given), after, held).cause == cause
