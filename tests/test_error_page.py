"""Every error leads to a place in docs/errors.md, and that place is there."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.server.errors import RefusedRequest, refusal_body
from ragwright.retrievers import errors
from ragwright.retrievers.errors import PAGE, IndexFault, InputError, RagError

ROOT = Path(__file__).resolve().parent.parent


class Own(IndexFault):
    """An error of somebody's own."""


def anchors() -> set[str]:
    """The places of the page, as the site makes them."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## `(\w+)`$", "\n".join(hooks.errors()), re.M)
    return {one.lower() for one in headings} | set(re.findall(r'id="(\w+)"', text))


def kinds() -> list[type[RagError]]:
    found = [one for one in vars(errors).values() if isinstance(one, type)]
    return [one for one in found if issubclass(one, RagError)]


def codes() -> Iterator[str]:
    """Every code that the server's sources name where they refuse."""
    for file in (ROOT / "artifacts" / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and len(node.args) > 1:
                status, code = node.args[:2]
                numbered = isinstance(status, ast.Constant) and isinstance(status.value, int)
                if numbered and isinstance(code, ast.Constant) and isinstance(code.value, str):
                    yield code.value


def test_every_kind_of_error_has_its_place() -> None:
    there = anchors()
    assert len(kinds()) > 10
    assert [one for one in kinds() if one("x").page.removeprefix(f"{PAGE}#") not in there] == []
    assert Own("x").page == f"{PAGE}#indexfault"


def test_every_code_of_the_server_has_its_place() -> None:
    named = {*codes(), "bad_request", "refused"}
    assert {"queue_full", "invalid_api_key", "index_changed"} <= named
    assert named - anchors() == set()
    assert (
        refusal_body(RefusedRequest(429, "queue_full", "Full.")).error.doc == f"{PAGE}#queue_full"
    )


def test_the_page_is_that_of_the_project() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert f"{told['Documentation']}/errors/" == PAGE


@pytest.mark.parametrize("terminal", [True, False])
def test_people_are_shown_the_place_and_logs_are_not(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr("ragwright.artifacts.cli.people_read", lambda: terminal)
    said = CliRunner().invoke(app, ["show", "nowhere.toml"])
    lines = said.stderr.splitlines()
    assert (said.exit_code, lines[0][:7]) == (2, "error: ")
    assert lines[1:] == ([f"see {InputError('x').page}"] if terminal else [])


@pytest.mark.parametrize(
    ("said", "shown"), [("It said: no", "It said: no. Try."), ("Really?", "Really? Try.")]
)
def test_what_others_said_ends_before_what_to_do(said: str, shown: str) -> None:
    assert str(InputError(said, hint="Try.")) == shown
    assert str(InputError(said)) == said
