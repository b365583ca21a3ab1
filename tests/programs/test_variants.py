"""Variants of a recipe's index: what they take over, where they lie, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import InputError, RecipeError

RECIPE = """
name = "handbook"
[index]
path = "indexes/main"
documents = "handbook"
embedder = "hash"
[index.chunking]
kind = "markdown"
size = 300
overlap = 20
[index.variants.small.chunking]
size = 60
[index.variants.families]
path = "elsewhere"
chunking = { size = 50, parent_size = 400 }
[knobs]
k = 7
"""


def written(tmp_path: Path, text: str = RECIPE) -> str:
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    return str(tmp_path / "recipe.toml")


def test_a_variant_differs_in_what_it_says_and_lies_beside(tmp_path: Path) -> None:
    file = written(tmp_path)
    main, small = Recipe.from_toml(file), Recipe.from_toml(f"{file}#small")
    assert main.index.path == str(tmp_path / "indexes/main")
    assert main.index.chunking.size == 300
    assert small.index.path == str(tmp_path / "indexes/main-small")
    cut = main.index.chunking.model_copy(update={"size": 60})
    place = {"chunking": cut, "path": small.index.path}
    assert small == main.model_copy(update={"index": main.index.model_copy(update=place)})


def test_a_variant_may_name_its_folder(tmp_path: Path) -> None:
    families = Recipe.from_toml(Path(f"{written(tmp_path)}#families")).index
    assert families.path == str(tmp_path / "elsewhere")
    assert (families.chunking.kind, families.chunking.parent_size) == ("markdown", 400)


@pytest.mark.parametrize(
    ("store", "wanted"),
    [
        ("qdrant+http://h:6333", "qdrant+http://h:6333#passages_small"),
        ("pinecone:books#law", "pinecone:books#law_small"),
    ],
)
def test_a_variant_has_a_collection_of_its_own(tmp_path: Path, store: str, wanted: str) -> None:
    text = RECIPE.replace("[index]", f'[index]\nstore = "{store}"')
    assert Recipe.from_toml(f"{written(tmp_path, text)}#small").index.store == wanted
    text = text.replace(
        "[index.variants.small.", '[index.variants.small]\nstore = ""\n[index.variants.small.'
    )
    assert Recipe.from_toml(f"{written(tmp_path, text)}#small").index.store == ""


def test_a_recipe_without_a_table_of_its_own_has_variants(tmp_path: Path) -> None:
    file = written(tmp_path, "[index.variants.small]\nchunking.size = 50")
    assert Recipe.from_toml(f"{file}#small").index.path == str(tmp_path / ".rag/index-small")
    assert Recipe.from_toml(file) == Recipe().beside(tmp_path)


def test_a_file_with_the_mark_in_its_name_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a#b.toml").write_text('name = "b"')
    assert Recipe.from_toml(tmp_path / "a#b.toml").name == "b"
    (tmp_path / "a#b.toml").write_text("[index.variants.small]")
    assert Recipe.from_toml(f"{tmp_path}/a#b.toml#small").index.path.endswith("index-small")


def test_a_folder_with_the_mark_in_its_name_is_that_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"recipe '.*/c#/recipe.toml': No such file"):
        Recipe.from_toml(f"{tmp_path}/c#/recipe.toml")
    (tmp_path / "c#").mkdir()
    assert Recipe.from_toml(f"{written(tmp_path / 'c#')}#small").index.chunking.size == 60


def test_a_mark_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"recipe.toml#' names no variant after its '#'"):
        Recipe.from_toml(f"{written(tmp_path)}#")


def test_an_unknown_variant_is_told_from_those_there_are(tmp_path: Path) -> None:
    file = written(tmp_path)
    with pytest.raises(InputError, match=r"no variant 'tiny' of its index; it has 'small', 'fam"):
        Recipe.from_toml(f"{file}#tiny")
    with pytest.raises(InputError, match="it has none"):
        Recipe.from_toml(f"{written(tmp_path, '')}#tiny")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[index.variants.small]\nsize = 50", r"recipe.toml#small.*index.size"),
        ("[index.variants.small.chunking]\nsize = 4", r"recipe.toml#small.*index.chunking.size"),
        ("[index.variants.small]\nchunking = 4", r"index.chunking.*\(got 4\)"),
        ("[index.variants.small.variants.x]", r"recipe.toml#small.*index.variants"),
        ("[index.variants.'a/b']", "'a/b' is no variant"),
        ("[index.variants]\nsmall = 3", r"'small' is no variant of an index \(got 3\)"),
        ("[index]\nvariants = 3", r"'' is no variant of an index \(got 3\)"),
        ("[index]\npath = 3\n[index.variants.small]", "index.path"),
        ("index = 3", "index"),
    ],
)
def test_every_variant_is_checked_whichever_is_read(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        Recipe.from_toml(written(tmp_path, text))


def test_a_recipe_can_be_varied_in_python() -> None:
    cut = Recipe().varied("small", {"chunking": {"size": 50}, "engine": {"backend": "torch"}})
    assert (cut.index.path, cut.index.chunking.size) == (".rag/index-small", 50)
    assert (cut.index.engine.backend, cut.index.engine.precision) == ("torch", "auto")
    with pytest.raises(RecipeError, match=r"the recipe#small.*index.chunking.sise"):
        Recipe().varied("small", {"chunking": {"sise": 50}})
