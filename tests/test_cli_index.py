"""The `rag index` commands, as they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.retrievers.index import IndexSettings
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.types import Document


@pytest.fixture
def index(tmp_path: Path) -> Path:
    documents = [Document(f"d{n}", f"Text number {n} about cats.") for n in range(5)]
    ingest(documents, tmp_path / "index", IndexSettings(embedder="hash"))
    return tmp_path / "index"


def rag(*words: object, code: int = 0) -> Any:
    ran = CliRunner().invoke(app, ["index", *map(str, words), "--json"])
    assert ran.exit_code == code, ran.output
    return json.loads(ran.stdout) if code < 2 else ran.stderr


def test_a_sound_index(index: Path) -> None:
    assert (rag("stats", index)["documents"], rag("stats", index)["chunks"]) == (5, 5)
    assert rag("verify", index)["sound"] is True
    assert rag("repair", index) == {"written": 0, "removed": 0}
    assert rag("compact", index)["freed"] == 0


def test_verify_fails_until_repaired(index: Path) -> None:
    ledger = Ledger(index / "ledger.sqlite")
    with ledger.transaction():
        ledger.set_state([next(ledger.ids())], "dead")
    ledger.close()
    assert rag("verify", index, code=1)["unsettled"] == 1
    rag("repair", index)
    assert rag("verify", index)["chunks"] == 4


def test_copying(index: Path, tmp_path: Path) -> None:
    report = rag("copy", "--from", f"chroma:{index}/chroma", "--to", f"chroma:{tmp_path}/copy")
    assert (report["rows"], report["copied"], report["overlap"]) == (5, 5, [1.0, 1.0])
    rag("copy", "--index", index, "--to", f"chroma:{tmp_path}/moved")
    assert rag("stats", index)["store"] == f"chroma:{tmp_path}/moved"
    assert "either --from or --index" in rag("copy", "--to", "chroma:x", code=2)
    assert "names no vector store" in rag("copy", "--from", "x", "--to", "y", code=2)


def test_people_see_tables(index: Path) -> None:
    ran = CliRunner().invoke(app, ["index", "verify", str(index)])
    assert ran.exit_code == 0
    assert ran.stdout.count("sound") == 4


def test_documents_are_deleted(index: Path) -> None:
    assert "'d9'" in rag("delete", index, "d1", "d9", code=2)
    assert rag("delete", index, "d1", "d9", "--missing-ok")["deleted"] == 1
    ran = CliRunner().invoke(app, ["index", "delete", str(index), "d2", "d3"])
    assert ran.stdout == "2 documents deleted, 2 chunks\n"
    assert rag("stats", index)["documents"] == 2


def test_an_index_is_found_by_its_recipe_and_by_its_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Cats sleep.")
    settings = '[index]\ndocuments = "docs"\nembedder = "hash"\npath = "one"\n'
    (tmp_path / "r.toml").write_text(f"{settings}[index.variants.small]\nchunking.size = 20\n")
    for source in ("r.toml", "r.toml#small"):
        assert CliRunner().invoke(app, ["ingest", source]).exit_code == 0
        assert rag("stats", source)["documents"] == 1
    assert rag("stats", "r.toml#small")["path"].endswith("one-small")
    assert rag("delete", "r.toml", "a.md")["deleted"] == 1
    assert (rag("stats", "r.toml")["documents"], rag("stats", "one-small")["documents"]) == (0, 1)
    for nothing in ("docs", "nowhere"):
        assert "There is no index" in rag("stats", nothing, code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cats", "--index", "one", "--mode", "bm25"], "cats"),
        (["xyzzy", "--index", "one", "--mode", "bm25"], "No passage is found."),
        (["cats", "--index", "one", "--where", '{"k": 1}'], "The filter lets none pass"),
        (["cats", "--index", "one", "--where", '{"k": 1}'], "has 'k', but document, end"),
    ],
)
def test_a_search_that_finds_nothing_says_so(
    index: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(index.parent)
    index.rename("one")
    ran = CliRunner().invoke(app, ["search", *words])
    assert ran.exit_code == 0
    assert said in ran.output
