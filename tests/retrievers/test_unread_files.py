"""What cannot be read now is not gone: an ingest deletes what a source lacks, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ragwright.retrievers.documents import ReadOptions, read_documents
from ragwright.retrievers.documents.json_text import is_cut_json
from ragwright.retrievers.index import open_index
from ragwright.retrievers.ingest import IngestReport, ingest
from tests.retrievers.conftest import SETTINGS


def write_folder(folder: Path) -> None:
    (folder / "sub").mkdir(parents=True)
    for name in ("plain.md", "page.html", "sub/inner.txt", "other.txt", "aim.bin"):
        (folder / name).write_text(f"The words of {name}.")
    numbered = [json.dumps({"text": f"Row {number}."}) for number in (1, 2)]
    (folder / "rows.jsonl").write_text("\n".join(numbered))
    with zipfile.ZipFile(folder / "pack.zip", "w") as archive:
        archive.writestr("in/a.md", "Packed.")
        archive.writestr("named.jsonl", json.dumps({"_id": "own", "text": "A row in a pack."}))
    (folder / "list.json").write_text(json.dumps([{"_id": "l1", "text": "A listed row."}]))
    table = pyarrow.table({"id": ["p1", "p2"], "text": ["One.", "Two."]})
    parquet.write_table(table, folder / "table.parquet")
    (folder / "link.txt").symlink_to("aim.bin")


def read_into(folder: Path, path: Path) -> IngestReport:
    return ingest(read_documents(folder, ReadOptions(on_error="skip")), path, SETTINGS)


def held(path: Path) -> set[str]:
    return {piece.document_id for piece in open_index(path).chunks()}


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:30])


def make_pipe(folder: Path) -> None:
    shutil.rmtree(folder)
    os.mkfifo(folder)


UNREAD: list[tuple[str, Callable[[Path], object], set[str]]] = [
    ("plain.md", lambda file: file.write_bytes(bytes(range(256))), {"plain.md"}),
    ("pack.zip", cut, {"pack.zip:in/a.md", "own"}),
    ("table.parquet", cut, {"p1", "p2"}),
    ("rows.jsonl", lambda file: file.write_text('{"text": "Row 1."}\n{"te'), {"rows.jsonl:2"}),
    ("list.json", cut, {"l1"}),
    ("sub", make_pipe, {"sub/inner.txt"}),
    ("aim.bin", lambda file: file.unlink(), {"link.txt"}),
]


@pytest.mark.parametrize(("name", "spoil", "stays"), UNREAD, ids=[name for name, *_ in UNREAD])
def test_what_cannot_be_read_now_stays(
    tmp_path: Path, path: Path, name: str, spoil: Callable[[Path], object], stays: set[str]
) -> None:
    folder = tmp_path / "docs"
    write_folder(folder)
    read_into(folder, path)
    before = held(path)
    spoil(folder / name)
    (folder / "other.txt").unlink()
    report = read_into(folder, path)
    gone = {"other.txt"} | ({name} if name == "aim.bin" else set())
    assert (report.kept, report.deleted) == (len(stays), len(gone))
    assert held(path) == before - gone >= stays
    (folder / ("link.txt" if name == "aim.bin" else name)).unlink()
    read_into(folder, path)
    assert not held(path) & stays


@pytest.mark.parametrize("emptied", [b"", b" \n"])
def test_what_was_read_and_is_empty_is_gone(tmp_path: Path, path: Path, emptied: bytes) -> None:
    folder = tmp_path / "docs"
    write_folder(folder)
    read_into(folder, path)
    (folder / "plain.md").write_bytes(emptied)
    report = read_into(folder, path)
    assert (report.kept, report.deleted) == (0, 1)
    assert "plain.md" not in held(path)


def test_a_damaged_part_of_an_archive_that_is_the_source_stays(tmp_path: Path, path: Path) -> None:
    def pack(table: bytes) -> Path:
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("a.md", "Packed.")
            archive.writestr("t.md", table)
        return tmp_path / "all.zip"

    read_into(pack(b"A table."), path)
    assert read_into(pack(bytes(range(256))), path).kept == 1
    assert held(path) == {"all.zip:a.md", "all.zip:t.md"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=9,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(JSON, min_size=1), st.sampled_from([None, 1]), st.data())
def test_json_that_was_cut_is_told_from_json(
    said: list[object], indent: int | None, data: st.DataObject
) -> None:
    text = json.dumps(said, indent=indent)
    assert not is_cut_json(text)
    cut_off = text[: data.draw(st.integers(1, len(text) - 1))]
    within_a_word = cut_off[-1].isalpha() or cut_off[-1] in "-\\0123456789"
    assert is_cut_json(cut_off) or within_a_word


@pytest.mark.parametrize("text", ["[part]\nkey = 1", "{a: 1, // b\n}", '{"a": 1}\n{"b": 2}'])
def test_what_is_no_json_is_not_cut_json(text: str) -> None:
    assert not is_cut_json(text)


KILLED = """
import os, signal, sys, time
from pathlib import Path
from ragwright.retrievers.documents import ReadOptions, read_documents
read = read_documents(Path(sys.argv[1]), ReadOptions())
next(read)
print("read", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_unpacked_goes_with_the_process_that_is_killed(
    tmp_path: Path, how: signal.Signals
) -> None:
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("a.md", "One.")
        archive.writestr("b.md", "Two.")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "pack.zip")],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(scratch)},
        start_new_session=True,
    )
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == b"read\n"
        assert any(scratch.iterdir())
        (os.killpg if how == signal.SIGTERM else os.kill)(process.pid, how)
        process.wait()
    for _ in range(300):
        if not any(scratch.iterdir()):
            return
        time.sleep(0.02)
    raise AssertionError([*scratch.iterdir()])
