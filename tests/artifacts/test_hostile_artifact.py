"""An artifact from a stranger, each part of it something else: a reason, or a program that answers.

The manifest's hashes are made to fit, as whoever writes a folder can do. `make attack` tries every
field with every value: RAGWRIGHT_REQUESTS.
"""

from __future__ import annotations

import copy
import json
import os
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragwright.artifacts.files import read_content, read_text, sha256
from ragwright.artifacts.store import open_artifact, read_artifact
from ragwright.retrievers.errors import ArtifactError, InputError, RagError, as_path

FILES = ("manifest.json", "recipe.json", "state.json")
WRONG: list[Any] = [
    None, True, -1, 10**400, 1.5, float("nan"), "", "\0", "\ud800", "../../etc/passwd", "os:system",
    [], [[]], {}, {"a": 1}, [None], "x" * 50_000,
]  # fmt: skip
TRIED = 150


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield before
    inner = value.items() if isinstance(value, dict) else ()
    for key, part in inner or (enumerate(value[:3]) if isinstance(value, list) else ()):
        yield from places(part, (*before, key))


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    whole = copy.deepcopy(value)
    inner = whole
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = new
    return whole


def rehash(version: Path) -> None:
    manifest = json.loads((version / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name] = sha256((version / name).read_bytes())
    (version / "manifest.json").write_text(json.dumps(manifest))


def test_every_field_may_be_anything(home: Path) -> None:
    version = home / "1"
    before = {name: (version / name).read_text() for name in FILES}
    cases = [
        (name, place, new)
        for name in FILES
        for place in places(json.loads(before[name]))
        for new in WRONG
    ]
    count = len(cases) if os.environ.get("RAGWRIGHT_REQUESTS") else TRIED
    for name, place, new in random.Random(7).sample(cases, count):
        (version / name).write_text(json.dumps(changed(json.loads(before[name]), place, new)))
        if name != "manifest.json":
            rehash(version)
        try:
            with warnings.catch_warnings(action="ignore"):
                open_artifact(home)
        except RagError as error:
            said = str(error)
            assert len(said) < 5000, (name, place)
        for file, text in before.items():
            (version / file).write_text(text)
    assert open_artifact(home).program is not None


TERABYTE = 1 << 40


@pytest.mark.parametrize("name", [*FILES, "prompts/respond.md"])
@pytest.mark.parametrize("kind", ["pipe", "circle", "folder", "out", "huge"])
def test_a_file_that_is_none(home: Path, tmp_path: Path, name: str, kind: str) -> None:
    file = home / "1" / name
    text = file.read_text()
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "circle":
        file.symlink_to(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "huge":  # and hardly a block of the disk
        file.touch()
        os.truncate(file, TERABYTE)
    else:
        (tmp_path / "elsewhere").write_text(text)
        file.symlink_to(tmp_path / "elsewhere")
    if kind == "out" and name == "manifest.json":
        assert read_text(file) == text  # nothing says what it should be
        return
    with pytest.raises(ArtifactError):
        open_artifact(home)


@pytest.mark.parametrize(
    ("long", "many"),
    [("x " * 3_000_000, 1), ("x", 2000), ("data:image/png;base64," + "A" * 10**7, 1)],
)
def test_a_prompt_that_no_model_reads_is_refused(home: Path, long: str, many: int) -> None:
    """It held whoever loaded and asked it for minutes; images are no text."""
    file = home / "1" / "state.json"
    state = json.loads(file.read_text())
    place = next(name for name, part in state.items() if "demos" in part)
    demo = state[place]["demos"][0]
    state[place]["demos"] = [{**demo, "question": long}] * many
    file.write_text(json.dumps(state))
    rehash(home / "1")
    if "base64" in long:
        assert read_artifact(home).state
        return
    with pytest.raises(ArtifactError, match="no prompt has more"):
        read_artifact(home)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Whatever of an artifact is read: arrays of what was learned, too."""
    os.mkfifo(tmp_path / "0.safetensors")
    with pytest.raises(ArtifactError, match="no file"):
        read_content(tmp_path / "0.safetensors")


@pytest.mark.parametrize(
    "given", ["x" * 300, "a/" * 3000, "a\0b", "\ud800", "home@" + "9" * 300, 5]
)
def test_what_no_file_system_takes_is_no_path(given: Any) -> None:
    with pytest.raises(InputError, match="is not a path"):
        as_path(given)
    with pytest.raises(InputError):
        open_artifact(given)


def test_an_error_is_cut() -> None:
    said = str(RagError("x" * 1_000_000, hint="Do this."))
    assert len(said) < 5000
    assert said.endswith("... Do this.")
