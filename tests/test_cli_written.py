"""Real documents and a language model that writes: from the folder to a study, nothing edited.

`python docs/transcript.py --writing` goes on from there, through a compile, to a server. The model
is scripted and answers over HTTP where the environment says a provider is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.cli.init import HOSTED
from tests.optimize.scripted import close_clients
from tests.servers.writing_lm import WritingLM, tail

CHANGES = Path(__file__).resolve().parent.parent / "CHANGELOG.md"
NOTES = 40
"""As many lines of the list of changes are the documents, each a page of its own."""
WANTED = 22


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WritingLM]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ragwright.artifacts.cli.init._served", lambda port: "")
    for variable in HOSTED:
        monkeypatch.delenv(variable, raising=False)
    Path("handbook").mkdir()
    changes = re.findall(r"(?m)^- (.{140,420})$", CHANGES.read_text("utf-8"))
    for number, change in enumerate(changes[:NOTES]):
        Path("handbook", f"change-{number}.md").write_text(change, "utf-8")
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
    made = rag("questions", "recipe.toml", "-n", str(WANTED))
    assert "not kept: " in made
    assert f"Spent: {len(server.calls)} calls of the language model" in made
    assert re.search(r"US\$", made)
    rows = [json.loads(line) for line in Path("questions.jsonl").read_text("utf-8").splitlines()]
    assert {"fact", "unanswerable"} <= {row["kind"] for row in rows}
    no_flaw_is_kept(rows, server)
    studied = rag("study", "retrieval", "recipe.toml", "--no-track")
    assert "next: rag compile recipe.toml" in studied


def no_flaw_is_kept(rows: list[dict[str, Any]], server: WritingLM) -> None:
    """Every flawed question that the model is known to have written was told from the others."""
    pages = {page.name: page.read_text("utf-8") for page in Path("handbook").iterdir()}
    assert len(server.flawed) >= 3
    assert len({row["question"].casefold() for row in rows}) == len(rows)
    for row in rows:
        assert row["question"] in server.known
        assert (row["question"], row["answer"]) not in server.flawed
        texts = [pages[name] for name in row["documents"]]
        assert all(any(part in text for text in texts) for part in row["evidence"])
        assert set(row["answer"].split(", ")) <= {"", *map(tail, row["evidence"])}
