"""What a compile leaves on the program that it returns, as artifacts keep it.

`compile_result` says it in plain values, so that nothing of compiling is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from ragwright.artifacts.golden import GoldenQuestion, sample_questions
from ragwright.artifacts.manifest import Provenance
from ragwright.programs.anatomy import predictors_of, searchers_of
from ragwright.programs.lm import section_of_lm
from ragwright.programs.own import section_of
from ragwright.programs.recipe import Recipe

RESULT = "compile_result"
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class CompileRecord:
    """What a compile found; nothing for a program that was not compiled here."""

    provenance: Provenance | None = None
    report: Path | None = None
    golden: tuple[GoldenQuestion, ...] = ()


def compiled_with(program: dspy.Module) -> CompileRecord:
    """Return what the compile of a program found."""
    result = getattr(program, RESULT, None)
    if result is None:
        return CompileRecord()
    report = Path(result.run_dir) / "report"
    golden = [GoldenQuestion.model_validate(one) for one in result.golden]
    return CompileRecord(
        Provenance.model_validate(result.provenance),
        report if report.is_dir() else None,
        sample_questions(golden),
    )


def recipe_for(program: dspy.Module, name: str, options: Mapping[str, Any]) -> Recipe:
    """Return the recipe that builds a program again, with the settings of its compile.

    Args:
        program: Any program.
        name: Of the artifact.
        options: What its class is called with.
    """
    result = getattr(program, RESULT, None)
    recipe: Recipe = Recipe() if result is None else result.recipe
    table = recipe.model_dump(exclude={"program", "index", "lm"})
    paths = [part.path for part in searchers_of(program).values()]
    lm = next((one.lm for one in predictors_of(program) if one.lm), None) or dspy.settings.lm
    made = {
        "name": (_NOT_A_NAME.sub("-", name).strip("-_") or "program")[:64],
        "program": section_of(program, options).model_dump(),
        "index": {"path": str(Path(paths[0]).resolve())} if paths else {},
        "lm": recipe.lm.model_dump() | (section_of_lm(lm) if result is None else {}),
    }
    return Recipe.checked({**table, **made}, source="the program")
