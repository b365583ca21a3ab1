"""From a folder of documents to figures: each command prints the next, and nothing is edited."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ragwright.artifacts.cli import app
from ragwright.artifacts.cli.init import HOSTED, propose, reachable


def rag(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in HOSTED:
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "hand book"
    folder.mkdir()
    for number in range(30):
        text = (
            f"# Machine {number}\n\nMachine{number} is a lathe that turns {number} parts an hour.\n"
        )
        (folder / f"machine{number}.md").write_text(text)
    return tmp_path


def test_a_folder_becomes_figures(place: Path) -> None:
    said = rag("init", "hand book").stdout
    assert "next: rag ingest recipe.toml" in said
    recipe = Path("recipe.toml").read_text()
    assert 'kind = "markdown"' in recipe
    Path("recipe.toml").write_text(recipe.replace("[index]\n", '[index]\nembedder = "hash"\n'))
    rag("ingest", "recipe.toml")
    made = rag("questions", "recipe.toml", "-n", "30").stdout
    assert "30 questions" in made
    assert "These are probes" in made
    checked = json.loads(rag("questions", "check", "recipe.toml", "--json").stdout)
    assert (checked["questions"], checked["problems"]) == (30, [])
    found = json.loads(rag("study", "retrieval", "recipe.toml", "--no-track", "--json").stdout)
    assert found["ways"]["BM25"]["means"]["document recall@5"]["mean"] > 0.9
    page = Path(found["report"], "study.html")
    assert "Retrieval of" in page.read_text()
    gate = ["study", "retrieval", "recipe.toml", "--no-track", "--fail-under"]
    rag(*gate, "recall@5=0.01")
    assert "less than 1.01" in rag(*gate, "recall@5=1.01", code=1).stderr
    before = str(page.with_suffix(".json"))
    rag("study", "retrieval", "recipe.toml", "--no-track", "--against", before)
    rag("study", "context", "recipe.toml", "--no-track")
    told = rag("study", "rerankers", "recipe.toml", "--depths", "5").stdout
    assert "rag mlflow recipe.toml" in told


def test_too_few_questions_to_compile_are_said(place: Path) -> None:
    for number in range(8, 30):
        Path("hand book", f"machine{number}.md").unlink()
    rag("init", "hand book")
    recipe = Path("recipe.toml").read_text().replace("[index]", '[index]\nembedder = "hash"')
    Path("recipe.toml").write_text(recipe)
    rag("ingest", "recipe.toml")
    refused = "would refuse these questions: Too few train questions"
    assert refused in rag("questions", "recipe.toml", "-n", "5").stderr
    assert refused in rag("questions", "check", "recipe.toml").stderr


def test_a_large_folder_is_called_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "this is much" not in rag("init", "hand book").stdout
    monkeypatch.setattr("ragwright.artifacts.cli.init.MANY_FILES", 30)
    assert "this is much" in rag("init", "hand book", "--overwrite").stdout
    monkeypatch.setattr("ragwright.artifacts.cli.init.LOOKED_AT", 20)
    assert "at least 20 files" in rag("init", "hand book", "--overwrite").stdout


def test_a_training_set_that_is_there_is_not_written_over(place: Path) -> None:
    Path("recipe.toml").write_text("")
    assert "is there already" in str(rag("init", "hand book", code=2).stderr)


def test_a_key_or_a_local_server_chooses_the_language_model(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragwright.artifacts.cli.init._served", lambda port: "")
    assert reachable().name == "extractive"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    assert reachable().name.startswith("openai/")
    monkeypatch.setattr(
        "ragwright.artifacts.cli.init._served", lambda port: "qwen" if port == 11434 else ""
    )
    text = propose(Path("hand book"), Path("recipe.toml")).text
    assert re.search(r'model = "openai/qwen"\napi_base = "http://127.0.0.1:11434/v1"', text)
    assert "sk-none" not in text


def test_nothing_there_is_an_error(place: Path) -> None:
    assert "no documents" in rag("init", "nowhere", code=2).stderr
