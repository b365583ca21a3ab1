"""Real documents and a language model that writes: from the folder to a study, nothing edited.

The model is scripted and answers over HTTP where the environment says a provider is.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.cli.init import HOSTED
from tests.optimize.scripted import close_clients
from tests.servers.writing_lm import WritingLM

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = 7
"""As many of the smallest pages of this documentation are the documents."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WritingLM]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ragwright.artifacts.cli.init._served", lambda port: "")
    for variable in HOSTED:
        monkeypatch.delenv(variable, raising=False)
    written = [page for page in DOCS.glob("*.md") if "<!--" not in page.read_text("utf-8")]
    Path("handbook").mkdir()
    for page in sorted(written, key=lambda one: (one.stat().st_size, one.name))[1 : PAGES + 1]:
        shutil.copy(page, "handbook")
    with WritingLM() as running:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-scripted")
        monkeypatch.setenv("OPENAI_API_BASE", running.url)
        yield running
        close_clients()


def rag(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_model_writes_questions_about_real_documents(server: WritingLM) -> None:
    said = rag("init", "handbook")
    assert "OPENAI_API_KEY is set, and OPENAI_API_BASE says at which server" in said
    assert "costs money" in said
    assert "sk-scripted" not in said + Path("recipe.toml").read_text("utf-8")
    assert "next: rag questions recipe.toml" in rag("ingest", "recipe.toml")
    made = rag("questions", "recipe.toml", "-n", "16")
    assert "not kept: " in made
    assert f"Spent: {len(server.calls)} calls of the language model" in made
    assert re.search(r"US\$", made)
    rows = [json.loads(line) for line in Path("questions.jsonl").read_text("utf-8").splitlines()]
    assert {"fact", "unanswerable"} <= {row["kind"] for row in rows}
    assert {row["question"] for row in rows} <= set(server.known)
    studied = rag("study", "retrieval", "recipe.toml", "--no-track")
    assert "next: rag compile recipe.toml" in studied
