"""What documentation shows can be copied: every block parses, every command and option exists.

The quickstart is followed to the letter, by a shell, in an empty folder.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    body: str

    def __str__(self) -> str:
        return f"{self.page.name}: {self.body[:30]!r}"


def blocks(*languages: str, page: Path | None = None) -> list[Block]:
    pages = [page] if page else [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))]
    return [
        Block(page, found["language"], textwrap.dedent(found["body"]))
        for page in pages
        for found in FENCE.finditer(page.read_text(encoding="utf-8"))
        if found["language"] in languages
    ]


def called(block: Block) -> Iterator[list[str]]:
    """Yield the words of every line of a shell block that calls `rag`, comments left out."""
    for line in re.split(r"\n|&&\s*|[;|>]", block.body.replace("\\\n", " ")):
        if line.startswith(("rag ", "$ rag ")):
            yield shlex.split(line.removeprefix("$ "), comments=True)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.body, block.page.name, "exec")


@pytest.mark.parametrize("block", blocks("json", "yaml"), ids=str)
def test_json_and_yaml_parse(block: Block) -> None:
    assert (json.loads if block.language == "json" else yaml.safe_load)(block.body)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_is_a_part_of_a_recipe(block: Block, tmp_path: Path) -> None:
    from ragwright.programs import Recipe

    values = tomllib.loads(block.body)
    if set(values) == {"keys"}:  # the file of `rag serve --keys`
        assert all({"env", "sha256"} & set(key) for key in values["keys"])
    else:
        (tmp_path / "recipe.toml").write_text(block.body, encoding="utf-8")
        assert Recipe.from_toml(tmp_path / "recipe.toml")


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_commands_and_options_exist(block: Block) -> None:
    from ragwright.artifacts.cli import app

    for words in called(block):
        command: Any = typer.main.get_command(app)
        rest = words[1:]
        while rest and rest[0] in getattr(command, "commands", {}):
            command, rest = command.commands[rest[0]], rest[1:]
        assert command.name != "rag", words
        known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert given <= known | {"--help"}, words


def test_the_quickstart_is_followed_to_the_letter(tmp_path: Path) -> None:
    page = ROOT / "docs" / "quickstart.md"
    script = "set -eu\n" + "".join(block.body for block in blocks("sh", page=page))
    # An environment that is used without being activated has no `rag` on the path.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "140 euros\n[1] travel.md, characters" in run.stdout
    (block,) = blocks("python", page=page)
    run = subprocess.run(
        [sys.executable, "-c", block.body],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "['equipment.md']" in run.stdout, run.stderr
