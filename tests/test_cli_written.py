"""Documents and a language model that writes: from the folder to a study, nothing edited.

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
from ragwright.artifacts.cli.making import WRITING_TOKENS
from tests.optimize.scripted import close_clients
from tests.servers.writing_lm import WritingLM, tail

TOOLS = ("compressor", "centrifuge", "laminator", "palletizer", "conveyor", "granulator", "kiln")
AGENTS = ("isopropanol", "soapy water", "compressed air", "citric acid", "a dry brush")
ROOMS = ("northern archive", "porter's lodge", "boiler house", "drawing office")
NOTES = 44
WANTED = 22


def note(number: int) -> str:
    """A page of the handbook; always the same, so that the same questions are flawed."""
    tool = f"{TOOLS[number % len(TOOLS)]}-{number:02}"
    return (
        f"# Station {number}\n\nThe {tool} is cleaned with {AGENTS[number % len(AGENTS)]} at the "
        f"end of a shift. After {number * 37 + 90} hours of work the bearings of {tool} are "
        f"replaced and written into list {number} in the {ROOMS[number % len(ROOMS)]}.\n"
    )


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WritingLM]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ragwright.artifacts.cli.init._served", lambda port: "")
    for variable in HOSTED:
        monkeypatch.delenv(variable, raising=False)
    Path("handbook").mkdir()
    for number in range(NOTES):
        Path("handbook", f"station-{number}.md").write_text(note(number), "utf-8")
    with WritingLM() as running:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-scripted")
        monkeypatch.setenv("OPENAI_API_BASE", running.url)
        yield running
        close_clients()


def rag(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_model_writes_questions_about_documents(server: WritingLM) -> None:
    said = rag("init", "handbook")
    assert "OPENAI_API_KEY is set, and OPENAI_API_BASE says at which server" in said
    assert "costs money" in said
    assert "sk-scripted" not in said + Path("recipe.toml").read_text("utf-8")
    assert "next: rag questions recipe.toml" in rag("ingest", "recipe.toml")
    recipe = Path("recipe.toml").read_text("utf-8")
    Path("recipe.toml").write_text(recipe.replace("[lm]\n", "[lm]\nmax_tokens = 60\n"), "utf-8")
    made = rag("questions", "recipe.toml", "-n", str(WANTED))
    assert {call.limit for call in server.calls} == {WRITING_TOKENS}  # 60 would cut them off
    assert "not kept: " in made
    assert f"Spent: {len(server.calls)} calls of the language model" in made
    assert re.search(r"US\$", made)
    rows = [json.loads(line) for line in Path("questions.jsonl").read_text("utf-8").splitlines()]
    assert {"fact", "unanswerable"} <= {row["kind"] for row in rows}
    no_flaw_is_kept(rows, server)
    studied = rag("study", "retrieval", "recipe.toml", "--no-track")
    assert "next:" not in studied  # a compile would refuse so few


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
