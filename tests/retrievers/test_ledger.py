"""The ledger: states, transactions and what it refuses to open."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import IntegrityError

import pytest

from ragwright.retrievers import database
from ragwright.retrievers.database import open_database, what_helps
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.late import VectorSpan
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.ledger_file import PAGE
from ragwright.retrievers.types import Chunk


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path / "ledger.sqlite", create=True)) as opened:
        yield opened


def piece(number: int) -> Chunk:
    return Chunk("d", number, number + 1, "x", {"n": number, "ok": True, "title": "é"})


def test_only_live_chunks_count(ledger: Ledger) -> None:
    chunks = [piece(number) for number in range(3)]
    with ledger.transaction():
        for number, chunk in enumerate(chunks):
            ledger.put_chunk(chunk, tokens=number)
    assert (ledger.counts(), ledger.records([c.id for c in chunks])) == ((0, 0), {})
    with ledger.transaction():
        ledger.set_state([chunks[0].id, chunks[1].id], "live")
    with ledger.transaction():
        ledger.set_state([chunks[0].id], "dead")
    assert sorted(ledger.unsettled()) == sorted([chunks[0].id, chunks[2].id])
    assert ledger.chunk_ids("d") == [chunks[1].id]
    assert ledger.tokens([c.id for c in chunks]) == {chunks[1].id: 1}


def test_a_record_comes_back_as_it_went_in(ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.put_chunk(piece(7), tokens=3)
        ledger.set_spans([(piece(7).id, VectorSpan(40, 5, 6))])
        ledger.set_state([piece(7).id], "live")
    record = ledger.records([piece(7).id])[piece(7).id]
    assert (record.chunk, record.tokens) == (piece(7), 3)
    assert ledger.spans([piece(7).id, "x"]) == (0, {piece(7).id: VectorSpan(40, 5, 6)})
    assert (ledger.spans([]), ledger.token_rows()) == ((0, {}), 5)


def test_what_every_query_asks_for_is_read_without_the_texts(ledger: Ledger) -> None:
    asked: list[str] = []
    ledger._connection.set_trace_callback(asked.append)
    ledger.tokens(["a", "b"])
    ledger.spans(["a", "b"])
    ledger.lengths(["a", "b"])
    ledger._connection.set_trace_callback(None)
    assert len(asked) == 3
    for query in asked:
        plan = str(ledger._connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall())
        assert "SEARCH chunks USING COVERING INDEX chunks_in_brief" in plan


def test_a_failed_transaction_leaves_nothing(ledger: Ledger) -> None:
    def enter_twice() -> None:
        with ledger.transaction():
            ledger.put_document("d", "x")
            ledger.put_chunk(piece(1), tokens=1)
            ledger.put_chunk(piece(1), tokens=1)

    with pytest.raises(IntegrityError):
        enter_twice()
    assert (ledger.unsettled(), list(ledger.documents())) == ([], [])


def test_the_generation_grows_and_is_seen_elsewhere(ledger: Ledger, tmp_path: Path) -> None:
    reader = Ledger(tmp_path / "ledger.sqlite")
    assert reader.generation == 0
    with ledger.transaction():
        ledger.bump()
    with ledger.transaction():
        ledger.bump()
    assert reader.generation == 2
    reader.close()


def test_the_content_hash_depends_on_the_chunks_alone(ledger: Ledger, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "other.sqlite", create=True)
    for each, order in ((ledger, (1, 2)), (other, (2, 1))):
        with each.transaction():
            for number in order:
                each.put_chunk(piece(number), tokens=1)
                each.set_state([piece(number).id], "live")
    assert ledger.content_hash() == other.content_hash()
    with other.transaction():
        other.set_state([piece(1).id], "dead")
    assert ledger.content_hash() != other.content_hash()
    other.close()


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexFault, match="is missing"):
        Ledger(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("not a database " * 100)
    with pytest.raises(IndexFault, match="cannot be opened as a ledger"):
        Ledger(tmp_path / "text.sqlite")
    assert not (tmp_path / "none.sqlite").exists()


def test_what_streams_goes_over_pages(ledger: Ledger) -> None:
    chunks = [piece(number) for number in range(2 * PAGE + 7)]
    with ledger.transaction():
        for chunk in reversed(chunks):
            ledger.put_chunk(chunk, tokens=1)
            ledger.put_document(chunk.id, "x")
        ledger.set_state([chunk.id for chunk in chunks[1:]], "live")
    assert [record.chunk for record in ledger.all_records()] == chunks[1:]
    assert list(ledger.ids()) == sorted(chunk.id for chunk in chunks[1:])
    assert list(ledger.documents()) == sorted(chunk.id for chunk in chunks)
    assert ledger.counts() == (len(chunks), len(chunks) - 1)


def test_one_that_was_closed_under_a_reader_says_so(tmp_path: Path) -> None:
    opened = Ledger(tmp_path / "ledger.sqlite", create=True)
    opened.close()
    with pytest.raises(IndexFault, match="was closed while it was in use") as read:
        opened.counts()
    with pytest.raises(IndexFault, match="closed") as written, opened.transaction():
        opened.bump()
    assert "disk" not in f"{read.value} {written.value}"


def test_a_ledger_that_cannot_be_written_anew_says_so(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "ledger.sqlite", create=True)) as ledger:
        ledger.run("PRAGMA query_only = 1")
        with pytest.raises(IndexFault, match="cannot be written: attempt to write a readonly"):
            ledger.vacuum()


def test_who_waits_for_a_file_says_so_and_gives_it_up_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy that is made, or a shell somebody forgot: it was told to make room, or build anew."""
    monkeypatch.setattr(database, "UNSAID", 0.01)
    file = tmp_path / "rows.sqlite"
    rows = open_database(file, "PRAGMA journal_mode=WAL; CREATE TABLE rows (n);", timeout=60)
    with closing(rows), closing(sqlite3.connect(file, check_same_thread=False)) as held:
        held.execute("BEGIN IMMEDIATE")
        threading.Timer(0.2, held.rollback).start()
        with rows:
            rows.execute("INSERT INTO rows VALUES (1)")
        assert f"waiting for {str(file)!r}" in caplog.text
        caplog.clear()
        held.execute("BEGIN IMMEDIATE")
        threading.Timer(0.2, held.rollback).start()
        with rows:
            rows.executemany("INSERT INTO rows VALUES (?)", ((n,) for n in (2, 3)))
        assert f"waiting for {str(file)!r}" in caplog.text
        held.execute("BEGIN IMMEDIATE")
        with (
            closing(open_database(file, "", timeout=0.05)) as impatient,
            pytest.raises(sqlite3.OperationalError) as fault,
        ):
            impatient.execute("INSERT INTO rows VALUES (2)")
        assert "Another process holds" in what_helps(fault.value, "Make room.")
        held.rollback()
        assert rows.execute("SELECT n FROM rows").fetchall() == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "error returned from database: (code: 8) attempt to write a readonly database",
            "writable",
        ),
        ("unable to open database file", "rights"),
        ("database or disk is full", "Make room"),
    ],
)
def test_what_helps_against_a_fault_is_told_by_its_cause(said: str, words: str) -> None:
    """Chroma, which writes where it is only asked, passes SQLite's words on."""
    assert words in what_helps(OSError(said), "Make room.")
