"""An MLflow store that somebody else wrote in: a model as published, or a reason; never a wait."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import dspy
import pytest

from ragwright.artifacts import publish_model, save
from ragwright.artifacts.addresses import download
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import ArtifactError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

PLACES = [
    None, "", "\0x", "a\0b", "../../../etc", "file:///etc", "file://host/x", "http://[x",
    "dbfs:/x", "models:/m-00000000", "runs:/x/y", "/dev/zero", "\x1b[2J", "{", -1, b"\xff\xfe",
    "a" * 5000,
]  # fmt: skip
MODELS = [
    "", "null", "[]", "7", "{", "a: &x [*x]", "\0\0", "\xff", "- " * 3000, "flavors: 1",
    "flavors: {python_function: [1]}", "flavors: {python_function: {artifacts: {artifact: 3}}}",
    *(f"flavors: {{python_function: {{artifacts: {{artifact: {{path: {path}}}}}}}}}"
      for path in ("7", "[]", "null", '"a\\0b"', "../../..", "/etc", "nowhere")),
]  # fmt: skip
TAGS = ["", "null", "{", "7", "[1]", '[{"name": 1}]', '[{"name": "x", "version": "a"}]', "[" * 9000]


@pytest.fixture
def store(
    tmp_path: Path, program: dspy.Module, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path]:
    """A published artifact: the store's address, and the file that says what the model is.

    For an address on Databricks, MLflow opens the default store of the current folder.
    """
    monkeypatch.chdir(tmp_path)
    save(program, tmp_path / "artifact", recipe=recipe)
    uri = f"sqlite:///{tmp_path}/store/mlflow.db"
    (tmp_path / "store").mkdir()
    publish_model(tmp_path / "artifact", tracking_uri=uri)
    return uri, next((tmp_path / "store").rglob("MLmodel"))


def refused(uri: str, scratch: Path) -> bool:
    """Whether the model is refused, with a reason that is no flood."""
    try:
        version = download("models:/capitals/1", scratch, tracking_uri=uri)
    except ArtifactError as error:
        return len(str(error)) < 5000
    return not (version / "manifest.json").is_file()


def written(uri: str) -> Callable[[str, object], None]:
    def write(statement: str, value: object) -> None:
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as tables, tables:
            tables.execute(statement, (value,))

    return write


def test_a_store_may_say_anything(store: tuple[str, Path], tmp_path: Path) -> None:
    uri, file = store
    write, scratch = written(uri), tmp_path / "scratch"
    scratch.mkdir()
    assert not refused(uri, scratch)
    held = file.read_text()
    for said in MODELS:
        file.write_text(said, encoding="latin-1")
        assert refused(uri, scratch), said
    file.unlink()
    os.mkfifo(file)
    assert refused(uri, scratch)
    file.unlink()
    file.write_text(held)
    for tag in TAGS:
        write("UPDATE tags SET value = ? WHERE key = 'mlflow.linkedPrompts'", tag)
        publish_model(tmp_path / "artifact", tracking_uri=uri)
    write("UPDATE model_versions SET run_id = ?", None)
    publish_model(tmp_path / "artifact", tracking_uri=uri)
    for place in PLACES:
        write("UPDATE model_versions SET source = ?, storage_location = NULL", place)
        assert refused(uri, scratch), place
