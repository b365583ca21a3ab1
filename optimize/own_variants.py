"""Tries other ways to cut the documents of a user's own program, and moves it to the best index.

What is compared and how is that of recipes: see `variants.py`. All stages of the program search one
index; they are moved to the chosen one and read as many tokens as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dspy

from ragwright.optimize.progress import StageProgress
from ragwright.optimize.questions.data import Splits
from ragwright.optimize.setting import Setting, set_setting, setting_of
from ragwright.optimize.variant_answers import ByAnswers
from ragwright.optimize.variants import MOST, VariantChoice, choose_variant
from ragwright.programs.anatomy import copy_program, relocate_indexes, searchers_of
from ragwright.programs.recipe import Recipe
from ragwright.programs.variants import split_off_variants
from ragwright.retrievers.argument_checks import check_path
from ragwright.retrievers.errors import CompileError, InputError
from ragwright.retrievers.index import open_index

Variants = Mapping[str, Mapping[str, Any]] | Literal["auto"]


@dataclass(frozen=True)
class VariantRequest:
    """What a user of Python asks for.

    Attributes:
        variants: By name, the keys of a recipe's [index] table that differ; or "auto".
        documents: A file or folder with the documents of the program's index.
    """

    variants: Variants
    documents: str | Path


def parse_variant_request(variants: object, documents: object) -> VariantRequest | None:
    """Read the arguments `variants` and `documents`; None where no variants are asked for.

    Raises:
        InputError: They are no variants, or no documents, or one is given without the other.
    """
    if not variants and documents in ("", None):
        return None
    ways = variants if isinstance(variants, Mapping) else {}
    if variants != "auto" and not (ways and all(isinstance(v, Mapping) for v in ways.values())):
        raise InputError(
            f'`variants` is {variants!r}, but must be "auto" or a table by name.',
            hint='Write variants={"small": {"chunking": {"size": 60}}}, the keys of a recipe\'s '
            "[index] table; `documents` is for them alone.",
        )
    if documents in ("", None):
        raise InputError(
            "`variants` needs the documents, to cut them otherwise.",
            hint="Give documents=, the file or folder that the index was made from.",
        )
    check_path("documents", documents)
    split_off_variants({"index": {"variants": ways}})
    return VariantRequest("auto" if variants == "auto" else ways, str(documents))


def choose_own_variant(
    student: dspy.Module,
    asked: VariantRequest,
    recipe: Recipe,
    splits: Splits,
    *,
    folder: Path,
    by: Callable[[Callable[[Recipe], dspy.Module]], ByAnswers],
    progress: StageProgress | None = None,
) -> tuple[dspy.Module, VariantChoice | None]:
    """Return the program, or a copy of it over another index, and how that was chosen.

    Args:
        student: The program; it stays as it is.
        asked: Which ways to cut the documents.
        recipe: The settings of the compile.
        splits: Train and dev choose, test measures.
        folder: The run's folder, which keeps the choice.
        by: Makes what asks for answers, given what moves the program to the index of a recipe.
        progress: Told what is being done.

    Raises:
        CompileError: The program searches several indexes, none, or one that is another's.
        InputError: There are no such documents.
        RecipeError: A variant is none.
    """
    path = _path(student)

    def moved(chosen: Recipe) -> dspy.Module:
        return _moved(student, path, chosen)

    chosen, found = choose_variant(
        _recipe_over(path, setting_of(student), asked, recipe), splits, folder=folder,
        by=by(moved), progress=progress,
    )  # fmt: skip
    return (student if found is None else moved(chosen)), found


def _moved(student: dspy.Module, path: str, chosen: Recipe) -> dspy.Module:
    """The program itself, or a copy that searches another index and reads as many tokens."""
    if chosen.index.path == path:
        return student
    twin, before = copy_program(student), setting_of(student)
    relocate_indexes(twin, {path: chosen.index.path})
    share = chosen.knobs.k / before.first.k
    set_setting(twin, Setting.of({
        place: knobs.replaced(k=max(1, min(MOST, round(knobs.k * share))))
        for place, knobs in before.items()
    }))  # fmt: skip
    return twin


def _path(student: dspy.Module) -> str:
    paths = {part.path for part in searchers_of(student).values()}
    if len(paths) != 1:
        raise CompileError(
            f"Variants are of one index, and the program searches {len(paths)}.",
            hint="Leave variants out, or compile a program over one index.",
        )
    return paths.pop()


def _recipe_over(path: str, before: Setting, asked: VariantRequest, recipe: Recipe) -> Recipe:
    """The recipe of an index as it was made, with its variants."""
    index = open_index(path)
    if index.stamp.attached is not None:
        raise CompileError(
            f"The index {path!r} is attached to a collection of others, and is not cut anew.",
            hint="Leave variants out.",
        )
    named = {} if asked.variants == "auto" else dict(asked.variants)
    _, ways = split_off_variants({"index": {"variants": named}})
    table = recipe.model_dump()
    read = before.first
    made = Recipe.checked(
        {
            **table,
            "index": {
                **index.settings.model_dump(),
                "path": path,
                "documents": str(asked.documents),
            },
            "knobs": {"k": read.k, "context_tokens": read.context_tokens},
            "compile": {**table["compile"], "variants": "auto" if not named else tuple(named)},
        },
        source="the variants",
    )
    return recipe.like(made).with_variants(ways)
