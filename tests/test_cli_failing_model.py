"""Whatever a language model's server says, a command ends with one line and no escape sequence."""

from __future__ import annotations

from pathlib import Path

import pytest
from dspy.utils.exceptions import DSPyError, LMAuthError, LMServerError, LMTransportError
from typer.testing import CliRunner

from ragwright.artifacts.cli import actions, app

RECIPE = """
name = "yard"
[index]
path = "index"
embedder = "hash"
"""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LMAuthError("bad key \x1b]52;c;aGk=\x07\x9b2J\u202e"), "does not accept the key"),
        (LMTransportError("refused"), "cannot be reached"),
        (LMServerError("no\nsuch\rthing"), "failed"),
    ],
)
def test_a_model_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: DSPyError, said: str
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(actions, "read_recipe", failing)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    output = str(tmp_path / "made.jsonl")
    shell = CliRunner().invoke(
        app, ["questions", "make", str(tmp_path / "recipe.toml"), "--output", output]
    )
    assert shell.exit_code == 2, shell.output
    assert said in shell.output
    lines = shell.output.strip().splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(shell.output)
