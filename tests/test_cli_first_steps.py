"""From a folder of documents to figures: each command prints the next, and nothing is edited."""

from __future__ import annotations

import json
import os
import re
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ragwright.artifacts.cli import app
from ragwright.artifacts.cli.init import HOSTED, find_reachable_model, propose_recipe
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import InputError

GO_ON = ("questions check", "study retrieval")


def rag(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in HOSTED:
        monkeypatch.delenv(variable, raising=False)
    for variable in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
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
    for number in range(3):
        (place / "hand book" / f"{number},5.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    said = rag("ingest", "recipe.toml").stdout
    assert "next: rag questions recipe.toml" in said
    assert 'rag ask recipe.toml "..."' in said
    assert said.count("image") == 3  # each is named, and so few are not counted as well
    made = rag("questions", "recipe.toml", "-n", "30").stdout
    assert "30 questions" in made
    assert "These are probes" in made
    checked = json.loads(rag("questions", "check", "recipe.toml", "--json").stdout)
    assert (checked["questions"], checked["problems"]) == (30, [])
    found = json.loads(rag("study", "retrieval", "recipe.toml", "--no-track", "--json").stdout)
    assert found["ways"]["BM25"]["means"]["document recall@5"]["mean"] > 0.9
    page = Path(found["report"], "study.html")
    assert "Retrieval of" in page.read_text()
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC, ragwright \d", page.read_text())
    gate = ["study", "retrieval", "recipe.toml", "--no-track", "--fail-under"]
    rag(*gate, "recall@5=0.01")
    assert "less than 1" in rag(*gate, "precision@5=1", code=1).stderr
    for wrong, why in {"recall@5=80": "between 0 and 1", "recall5=0.8": "not measure"}.items():
        assert why in rag(*gate, wrong, code=2).stderr
    before = str(page.with_suffix(".json"))
    rag("study", "retrieval", "recipe.toml", "--no-track", "--against", before)
    rag("study", "context", "recipe.toml", "--no-track")
    told = rag("study", "rerankers", "recipe.toml", "--depths", "5")
    assert "rag mlflow recipe.toml" in told.stdout
    assert "would refuse these questions: Too few" in told.stderr


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


def test_one_file_is_ingested_and_asked_without_a_recipe(place: Path) -> None:
    note = place / "note.md"
    note.write_text("# Tower = tall\n\nThe tower was built in 1889 by an engineer.\n")
    assert "rag ask note.md" in rag("ingest", "note.md").output
    assert "1889" in rag("search", "note.md", "When was the tower built?").output
    (place / "recipe.toml").write_text("# Tower\n\nThe tower was built.")
    assert "not TOML" in rag("ingest", "recipe.toml", code=2).output
    (place / "settings.conf").write_text('name = "x"\n\n[index]\ndocuments = "note.md"\n')
    assert "1 added" in rag("ingest", "settings.conf").output


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
    monkeypatch.setattr("ragwright.artifacts.cli.init.LOCAL", {"Ollama": 11434, "vLLM": 8000})
    monkeypatch.setattr("ragwright.artifacts.cli.init._served", lambda port: "")
    assert find_reachable_model().name == "extractive"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    assert find_reachable_model().name.startswith("openai/")
    monkeypatch.setattr(
        "ragwright.artifacts.cli.init._served", lambda port: "qwen" if port == 11434 else ""
    )
    text = propose_recipe(Path("hand book"), Path("recipe.toml")).text
    assert re.search(r'model = "openai/qwen"\napi_base = "http://127.0.0.1:11434/v1"', text)
    assert "sk-none" not in text


@pytest.mark.parametrize("key", ["", "sk-none"])
def test_a_server_that_the_environment_names_chooses_its_model(
    place: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr("ragwright.artifacts.cli.init._served", lambda port: "")
    with listing("text-embedding-3", "our-chat", "other") as (url, asked):
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1/")
        if key:
            monkeypatch.setenv("OPENAI_API_KEY", key)
        found = find_reachable_model()
    assert found.name == "openai/our-chat"
    assert found.api_base == ("" if key else f"{url}/v1")
    assert asked == [("/v1/models", f"Bearer {key}" if key else None)]
    assert "our-chat" in found.why
    nobody = find_reachable_model()
    assert nobody.name == ("openai/gpt-4o-mini" if key else "extractive")
    assert not key or "lists no models" in nobody.why


@contextmanager
def listing(*names: str) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A server of OpenAI's protocol that lists models; yields its address and what it was asked."""
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": [{"id": name} for name in names]}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_two_recipes_in_a_folder_share_nothing(place: Path) -> None:
    Path("notes").mkdir()
    Path("notes", "one.txt").write_text("A note about lathes.")
    rag("init", "hand book")
    said = rag("init", "notes", "--output", "my notes.toml").stdout
    assert "next: rag ingest 'my notes.toml'" in said
    assert "for 1 file, 20 bytes: 1 .txt" in said
    first, second = (Recipe.from_toml(Path(name)) for name in ("recipe.toml", "my notes.toml"))
    assert first.index.path != second.index.path
    assert first.data.trainset != second.data.trainset


def test_what_was_not_ingested_says_which_command_comes_first(place: Path) -> None:
    for words in (("ask", "hand book", "x"), ("search", "hand book", "x")):
        assert "First: rag ingest 'hand book'" in rag(*words, code=2).stderr
    rag("init", "hand book")
    for asked in (["questions", "recipe.toml"], ["ask", "recipe.toml", "x"]):
        assert "First: rag ingest recipe.toml" in rag(*asked, code=2).stderr


def test_an_index_of_other_settings_names_what_differs(place: Path) -> None:
    rag("init", "hand book")
    recipe = Path("recipe.toml").read_text().replace("[index]\n", '[index]\nembedder = "hash"\n')
    Path("recipe.toml").write_text(recipe)
    rag("ingest", "recipe.toml")
    Path("recipe.toml").write_text(recipe.replace("size = 200", "size = 100"))
    said = rag("ingest", "recipe.toml", code=2).stderr
    assert "was made with chunking.size = 200, not 100." in said
    assert "IndexSettings" not in said


def test_nothing_there_is_an_error(place: Path) -> None:
    assert "no documents" in rag("init", "nowhere", code=2).stderr


@pytest.mark.parametrize("group", [[], ["index"], ["questions"], ["mlflow"], ["feedback"]])
def test_help_cuts_no_sentence_short(group: list[str]) -> None:
    listed = rag(*group, "--help").stdout.partition("Commands:")[2]
    assert listed.strip()
    assert "..." not in listed


def test_the_next_step_is_about_the_file_that_was_written(place: Path) -> None:
    rag("init", "hand book")
    recipe = Path("recipe.toml").read_text()
    Path("recipe.toml").write_text(recipe.replace("[index]\n", '[index]\nembedder = "hash"\n'))
    rag("ingest", "recipe.toml")
    said = rag("questions", "recipe.toml", "-n", "9", "--output", "other.jsonl").stdout
    assert all(f"rag {step} recipe.toml other.jsonl" in said for step in GO_ON)


@pytest.mark.parametrize(("files", "split"), [(["a.pdf"], True), (["rows.jsonl"], False),
                                              ([f"{n}.md" for n in range(6)], False)])  # fmt: skip
def test_few_documents_are_not_split_by_document(
    tmp_path: Path, files: list[str], split: bool
) -> None:
    (tmp_path / "docs").mkdir()
    for name in files:
        (tmp_path / "docs" / name).write_text("x")
    text = propose_recipe(tmp_path / "docs", tmp_path / "recipe.toml").text
    assert (tomllib.loads(text)["data"].get("split") == "question") is split


def test_a_files_name_writes_nothing_into_the_recipe(tmp_path: Path) -> None:
    docs = tmp_path / "docs\x7f"
    docs.mkdir()
    for name in ("a.md", 'b.x\n[lm]\nmodel = "theirs"\n#', "c.\x1b[2J"):
        (docs / name).write_text("x")
    text = propose_recipe(docs, tmp_path / "recipe.toml").text
    read = tomllib.loads(text)
    assert (read["index"]["documents"], "theirs" in read["lm"]["model"]) == (docs.name, False)
    odd = docs.rename(tmp_path / os.fsdecode(b"docs\xff"))
    with pytest.raises(InputError, match="not UTF-8"):
        propose_recipe(odd, tmp_path / "recipe.toml")


def test_a_servers_models_are_named_in_a_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragwright.artifacts.cli.init._served", lambda port: "")
    with listing('x"\n[compile]\n#', "half \ud800", "our-chat") as (url, _):
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1/")
        assert find_reachable_model().name == "openai/our-chat"
