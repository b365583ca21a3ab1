"""Texts of documents, models and strangers are shown by a terminal, and never obeyed."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from typer.testing import CliRunner

from ragwright.artifacts.cli import app, view
from ragwright.artifacts.cli.ingest import IngestOutput
from ragwright.artifacts.cli.terminal import (
    SafeConsole,
    escape_controls,
    escape_json_controls,
    quiet_warnings,
    write_in_any_encoding,
)
from ragwright.artifacts.cli.view import progress_bars
from ragwright.retrievers.documents import Problem
from ragwright.retrievers.index import close_index
from ragwright.retrievers.ingest import IngestReport, ingest
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.types import Document

CLIPBOARD = "\x1b]52;c;cm0gLXJmIC8=\x07"
EVIL = f"clear \x1b[2J{CLIPBOARD} c1 \x9b2J back\b\b\r right-to-left \u202eexe.txt"


@pytest.fixture(autouse=True)
def _colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of colours, whatever ran before in this process."""
    monkeypatch.setenv("TERM", "xterm-256color")


def unsafe(text: str) -> set[str]:
    kept = {"\n", "\t"}
    steers = {c for c in text if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066"}
    return steers - kept


@given(st.text())
def test_whatever_the_text_nothing_steers(text: str) -> None:
    assert unsafe(escape_controls(text)) == set()
    said = json.dumps(text, ensure_ascii=False)
    assert unsafe(escape_json_controls(said)) == set()
    assert json.loads(escape_json_controls(said)) == text


def test_a_console_keeps_its_own_colours_and_no_others() -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, width=200, highlight=False)
    table = Table(EVIL)
    table.add_row(EVIL)
    console.print(table)
    console.print(f"[bold]{escape_controls('bold')}[/bold] {EVIL}")
    said = file.getvalue()
    assert "\x1b[1m" in said
    assert "\x1b[2J" not in said
    assert "\x1b]52" not in said
    assert "\x9b" not in said
    assert "\u202e" not in said


@pytest.mark.parametrize("columns", ["0", "1", "-5", "x"])
def test_a_terminal_of_no_columns_is_written_to(
    monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    file = io.StringIO()
    SafeConsole(file=file, highlight=False).print("The capital of Peru is Lima.")
    assert file.getvalue() == "The capital of Peru is Lima.\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_waited_for_is_said_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=terminal, width=200, highlight=False)
    monkeypatch.setattr(view, "stderr_console", lambda: console)
    with view.show_waiting("asking openai/slow[1]"):
        assert ("asking openai/slow[1]" in file.getvalue()) == terminal
    assert bool(file.getvalue()) == terminal


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_search_shows_what_is_in_documents(tmp_path: Path, options: list[str]) -> None:
    index = tmp_path / "index"
    ingest([Document("evil", EVIL, "title")], index, IndexSettings(embedder="hash"))
    command = ["search", "clear right", "--index", str(index), *options]
    ran = CliRunner().invoke(app, command)
    close_index(index)
    assert ran.exit_code == 0, ran.output
    assert unsafe(ran.stdout) == set()
    assert "clear" in ran.stdout


def test_an_error_names_a_path_and_does_not_obey_it(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["index", "stats", str(tmp_path / "a\x1b[2Jb")])
    assert ran.exit_code == 2
    assert unsafe(ran.output) == set()


def test_a_warning_on_the_terminal_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    last = logging.lastResort
    assert last is not None
    before = last.formatter
    try:
        quiet_warnings()
        record = logging.LogRecord("x", logging.WARNING, "", 0, "%s failed", (EVIL,), None)
        assert unsafe(last.format(record)) == set()
    finally:
        last.formatter = before


def test_without_a_terminal_lines_say_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ragwright.artifacts.cli.view.PLAIN_EVERY", 0.0)
    with progress_bars() as advance:
        advance("dev [1]", 1, 3)
        advance("read", 7, 0)
    assert capsys.readouterr().err.splitlines()[:2] == ["dev [1]: 1 of 3", "read: 7"]


def test_of_many_notes_of_a_kind_the_first_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    kept = [Problem(f"{n}.txt", f"its id '{n}' was not taken") for n in range(40)]
    notes = (*kept, Problem("a.js", "it is not read"), Problem("b.js", "it is not read"))
    report = IngestReport(0, 0, 0, 0, 0, 0, 0, 0, "hash", 0.0)
    view.show_ingest(IngestOutput(Path("i"), report, notes=notes), as_json=False)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert said == [
        "note: 0.txt: its id '0' was not taken (39 more of this kind)",
        "note: a.js: it is not read",
        "note: b.js: it is not read",
    ]


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt, 130, "stopped by Ctrl-C"),
        (MemoryError, 2, "error: There is not enough memory"),
    ],
)
def test_what_ends_a_command_is_said(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    raised: type[BaseException],
    code: int,
    said: str,
) -> None:
    def ended(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("ragwright.artifacts.cli.init.propose_recipe", ended)
    done = CliRunner().invoke(app, ["init", str(tmp_path), "--output", str(tmp_path / "r.toml")])
    assert (done.exit_code, done.stderr.startswith(said)) == (code, True)


def test_what_was_mistyped_is_shown_and_not_obeyed() -> None:
    """A shell gives names of files in place of `*`, whoever named them."""
    for words in (["ask", f"--{EVIL}"], [EVIL], ["ask", "a", "b", "--where", EVIL]):
        assert unsafe(CliRunner().invoke(app, words).output) == set(), words


@pytest.mark.parametrize("command", ["ask", "search"])
def test_a_question_in_another_encoding_is_a_question(tmp_path: Path, command: str) -> None:
    """A terminal hands over bytes; those that are no UTF-8 arrive as halves of pairs."""
    index = tmp_path / "index"
    ingest([Document("a", "The lamp is blue.")], index, IndexSettings(embedder="hash"))
    recipe = tmp_path / "r.toml"
    recipe.write_text(f"[index]\npath = '{index}'\nembedder = 'hash'\n")
    done = CliRunner().invoke(app, [command, str(recipe), "which colour \udcff is the lamp"])
    close_index(index)
    assert done.exit_code == 0, done.output
    assert "blue" in done.output


def test_progress_is_seen_while_what_an_optimizer_prints_goes_to_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "PLAIN_EVERY", 0.0)
    log = io.StringIO()
    with progress_bars() as progress, contextlib.redirect_stderr(log):
        progress("prompts", 1, 0)
    assert "prompts: 1" in capsys.readouterr().err
    assert not log.getvalue()


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", r"\u00dc \u2192 \ud83d\ude00"),
        ("latin-1", r"Ü \u2192 \ud83d\ude00"),
        ("utf-8", "Ü → 😀"),
    ],
)
def test_letters_that_an_output_lacks_are_numbers(
    monkeypatch: pytest.MonkeyPatch, encoding: str, written: str
) -> None:
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding=encoding))
    write_in_any_encoding()
    SafeConsole(width=200, force_terminal=False).print("Ü → 😀")
    sys.stdout.flush()
    assert file.getvalue().decode(encoding) == f"{written}\n"


def test_a_table_that_nobody_reads_ends_as_a_broken_pipe() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        SafeConsole(file=Closed(), width=80).print(Table("a"))
