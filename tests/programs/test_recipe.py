"""A recipe: read from TOML, every key checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragwright.programs.knobs import KnobValues
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import InputError, RecipeError


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "recipe.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_an_empty_recipe_is_the_default_and_the_baseline_is_plain_dense(tmp_path: Path) -> None:
    recipe = Recipe.from_toml(written(tmp_path, ""))
    assert recipe.program.kind == "rerank"
    assert recipe.baseline == KnobValues.dense(5)
    assert recipe.lm.model == "extractive"


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    recipe = Recipe.from_toml(written(tmp_path, '[index]\npath = "i"\ndocuments = "../d"'))
    assert recipe.index.path == str((tmp_path / "i").resolve())
    assert recipe.index.documents == str((tmp_path / "../d").resolve())
    at_home = Recipe.from_toml(written(tmp_path, '[index]\ndocuments = "~/d"'))
    assert at_home.index.documents == str((Path.home() / "d").resolve())


def test_it_comes_back_from_json(tmp_path: Path) -> None:
    recipe = Recipe.from_toml(written(tmp_path, "[knobs]\nk = 9"))
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nmae = 'x'", "nmae"),
        ("name = 'a b'", "name"),
        ("[program]\nkind = 'graph'", "graph"),
        ("[knobs]\nk = 0", "knobs.k"),
        ("[knobs]\nkk = 3", "knobs.kk"),
        ("[knobs]\nk = 'three'", "three"),
        ("[knobs]\nweight_dense = 0\nweight_bm25 = 0", "nothing is retrieved"),
        ("[lm]\napi_key = 'x'", "lm.api_key"),
        ("[lm]\ntemperature = 3", "lm.temperature"),
        ("[data]\ntrain = 0.8\ndev = 0.2", "nothing for test"),
        ("[index.chunking]\nsize = 4", "index.chunking.size"),
        ("[index.chunking]\nsize = 8\noverlap = 8", "smaller than size"),
        ("[compile]\noptimizer = 3", "compile.optimizer"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        Recipe.from_toml(written(tmp_path, text))


def test_a_missing_file_and_broken_toml_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot read the recipe"):
        Recipe.from_toml(tmp_path / "none.toml")
    with pytest.raises(InputError, match="is not TOML"):
        Recipe.from_toml(written(tmp_path, "k = "))


def test_a_source_that_is_no_path_stays_as_it_is(tmp_path: Path) -> None:
    recipe = Recipe()
    for source in ("hub:some/set:train", "-"):
        section = recipe.index.model_copy(update={"documents": source})
        moved = recipe.model_copy(update={"index": section}).beside(tmp_path)
        assert moved.index.documents == source
