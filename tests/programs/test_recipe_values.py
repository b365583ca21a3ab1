"""Every key of a recipe with values that are wrong: told by its name, in a line, never a traceback.

Keys are read from the declared sections, so that a new one is tried by itself.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from ragwright.programs.recipe import Recipe
from ragwright.retrievers.documents.frontmatter import BadFrontMatter, split_front_matter
from ragwright.retrievers.errors import InputError, RagError
from ragwright.retrievers.toml import read_toml

BASE: dict[str, Any] = {"name": "tried", "index": {"path": "nowhere", "embedder": "hash"}}
WRONG: list[Any] = [
    None, True, -1, 10**5000, -(10**400), float("nan"), float("inf"), "", "\0", "\ud800",
    "os:system", "../../etc/passwd", "\x1b[2J", "x" * 50_000, [], [[]], {}, {"a": 1}, [None], [{}],
    datetime(2020, 1, 1, tzinfo=UTC), time(1), b"x",
]  # fmt: skip
LONGEST = 2000


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from sections(part)


def keys(model: type[BaseModel], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        place = (*before, field.alias or name)
        yield place
        for inner in sections(field.annotation):
            yield from keys(inner, place)


PLACES = list(dict.fromkeys(keys(Recipe)))


@pytest.mark.parametrize("section", sorted({place[0] for place in PLACES}))
def test_a_wrong_value_is_told_by_its_key(section: str) -> None:
    for place in (one for one in PLACES if one[0] == section):
        for value in WRONG:
            table = copy.deepcopy(BASE)
            inner = table
            for step in place[:-1]:
                inner = inner.setdefault(step, {})
            inner[place[-1]] = value
            try:
                Recipe.checked(table)
            except RagError as error:
                said = str(error)
                assert place[0] in said or place[-1] in said, (place, said[:200])
                assert len(said) < LONGEST, place
                assert said.isprintable(), (place, said[:200])


@pytest.mark.parametrize(
    "text",
    ["a = " + "1" * 5000, "a = " + "[" * 50_000, ".".join("a" * 20_000) + " = 1",
     "[" + " . ".join("a" * 20_000) + "]", "a = " + "{a=" * 5000, 'a = "\0"', "a = 0000-01-01"],
    ids=["digits", "lists", "dots", "table", "tables", "null", "date"],
)  # fmt: skip
def test_toml_that_is_made_to_hurt(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rag.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is not TOML"):
        read_toml(file)
    with pytest.raises(BadFrontMatter):
        split_front_matter(f"+++\n{text[:15_000]}\n+++\nText.")


def test_a_recipe_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "rag.toml"
    file.touch()
    os.truncate(file, 1 << 40)
    with pytest.raises(InputError, match="more than 67,108,864 bytes"):
        read_toml(file)


def test_dots_in_what_is_no_key_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "rag.toml"
    file.write_text(f'"a.b" = 1\nsaid = "{"One. " * 20}"\nx.y.z = 2.5\n', encoding="utf-8")
    assert read_toml(file)["x"] == {"y": {"z": 2.5}}


@pytest.mark.parametrize(
    "table",
    [
        "\n".join(f"[section_{number}]" for number in range(20_000)),
        '[index]\npath = "a\\u0000b"',
        '[index]\nstore = "a\\u0000b#c"',
        '[data]\ntrainset = "a\\u0000b"',
    ],
    ids=["many", "path", "store", "trainset"],
)
def test_a_file_of_wrong_keys_or_paths_is_told_of_in_a_line(tmp_path: Path, table: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(table)
    with pytest.raises(RagError) as told:
        Recipe.from_toml(file)
    assert len(str(told.value)) < LONGEST


def test_no_variable_of_the_environment_is_written_into_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's recipe could send it away, in the name of a model or of a server."""
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret")
    written = "${OPENAI_API_KEY} $OPENAI_API_KEY {OPENAI_API_KEY} %OPENAI_API_KEY%"
    file = tmp_path / "recipe.toml"
    file.write_text(f"[lm]\nmodel = 'openai/{written}'\napi_base = 'http://x/{written}'\n")
    recipe = Recipe.from_toml(file)
    assert "a-secret" not in recipe.model_dump_json()
    assert recipe.lm.api_base == f"http://x/{written}"


@pytest.mark.parametrize(
    ("section", "key", "address"),
    [
        ("lm", "api_base", "https://ada:a-secret@models.example/v1"),
        ("writer", "api_base", "https://ada:a-secret@models.example/v1"),
        ("tracking", "uri", "https://ada:a-secret@mlflow.example"),
        ("index", "store", "qdrant+https://ada:a-secret@store.example#chunks"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(
    section: str, key: str, address: str
) -> None:
    """It would stand in artifacts, in manifests, in indexes and in what MLflow shows."""
    with pytest.raises(RagError, match="no user and password") as told:
        Recipe.checked({section: {key: address}})
    assert "a-secret" not in str(told.value)


def test_a_tag_that_mlflow_would_refuse_is_refused_before_anything_is_spent() -> None:
    assert Recipe.checked({"tracking": {"tags": {"team a/b": "x"}}}).tracking.tags
    for name in ("a[b]", "", "x" * 251):
        with pytest.raises(RagError, match=r"tracking\.tags"):
            Recipe.checked({"tracking": {"tags": {name: "x"}}})
