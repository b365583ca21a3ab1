"""No file is converted twice, and no fault of the file that remembers costs a document."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ragwright.retrievers.documents import ReadOptions, read_documents
from ragwright.retrievers.documents.conversions import ConversionCache, KeepingConverter
from ragwright.retrievers.documents.converter import ConverterProcess
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.types import Document

PAGE = "<html><title>Leave</title><body><h1>Leave</h1><p>Thirty days a year.</p></body></html>"
SHEET = FileText("Rows", "a\n\nb \ud800", [(0, {"sheet": "one"}), (3, {"page": 2})], ["a note"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a page, and a cache of its own."""
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path / "cache"))
    made = tmp_path / "documents"
    made.mkdir()
    (made / "page.html").write_text(PAGE)
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the process that converts was asked for."""
    suffixes: list[str] = []
    convert = ConverterProcess.convert

    def counted(self: ConverterProcess, data: bytes, suffix: str) -> FileText:
        suffixes.append(suffix)
        return SHEET if suffix == ".xlsx" else convert(self, data, suffix)

    monkeypatch.setattr(ConverterProcess, "convert", counted)
    return suffixes


def read(folder: Path, options: ReadOptions | None = None) -> list[Document]:
    return list(read_documents(folder, options))


def test_a_file_is_converted_once(folder: Path, asked: list[str]) -> None:
    first = read(folder)
    assert (first[0].title, first[0].text.strip()) == ("Leave", "# Leave\n\nThirty days a year.")
    assert read(folder) == first
    (folder / "copy.html").write_text(PAGE)
    assert len(read(folder)) == 2
    assert asked == [".html"]


@pytest.mark.parametrize("other", ["bytes", "limit", "encoding", "code"])
def test_what_may_convert_otherwise_is_converted_again(
    folder: Path, asked: list[str], other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(folder)
    options = ReadOptions()
    if other == "bytes":
        (folder / "page.html").write_text(PAGE.replace("Thirty", "Twenty"))
    elif other == "limit":
        options = ReadOptions(max_unpacked_bytes=1_000_000)
    elif other == "encoding":
        options = ReadOptions(encoding="cp1252")
    else:
        monkeypatch.setattr(
            "ragwright.retrievers.documents.conversions.converter_fingerprint", lambda: "new"
        )
    text = read(folder, options)[0].text
    assert ("Twenty" in text) == (other == "bytes")
    assert len(asked) == 2


def test_nothing_of_a_conversion_is_lost(folder: Path, asked: list[str]) -> None:
    for _ in range(2):
        with KeepingConverter(ReadOptions()) as converter:
            assert converter.convert(b"rows", ".xlsx") == SHEET
    assert asked == [".xlsx"]


def test_it_is_off_where_caching_is(
    folder: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGWRIGHT_CACHE_GIB", "0")
    assert read(folder) == read(folder)
    assert len(asked) == 2
    assert not (folder.parent / "cache").exists()


@pytest.mark.parametrize("damage", ["no database", "no table", "a row", "a folder"])
def test_a_damaged_file_costs_no_document(
    folder: Path, asked: list[str], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = read(folder)
    file = folder.parent / "cache" / "conversions.sqlite"
    if damage == "no database":
        file.write_bytes(b"no database at all" * 1000)
    elif damage == "a folder":
        file.unlink()
        file.mkdir()
    else:
        with sqlite3.connect(file) as connection:
            connection.execute(
                "UPDATE conversions SET converted = x'00'"
                if damage == "a row"
                else "ALTER TABLE conversions DROP COLUMN converted"
            )
        connection.close()
    with caplog.at_level(logging.WARNING):
        assert read(folder) == whole
    assert len(asked) == 2
    assert len(caplog.records) == (damage != "a row")


def test_a_process_with_many_open_files_converts_as_well(folder: Path) -> None:
    """A server may have a thousand connections; `select` takes no descriptor above 1023."""
    resource = pytest.importorskip("resource")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1200:
        pytest.skip("not so many files may be open here")
    with ExitStack() as open_files:
        for _ in range(1024):
            open_files.enter_context(Path(os.devnull).open("rb"))
        assert len(read(folder)) == 1


def test_what_it_holds_is_for_its_owner_alone(folder: Path, asked: list[str]) -> None:
    read(folder)
    file = folder.parent / "cache" / "conversions.sqlite"
    assert file.stat().st_mode & 0o077 == 0
    beside = folder.parent / "other" / "conversions.sqlite"
    with closing(ConversionCache(beside, limit=1 << 20)):
        made = sorted(beside.parent.iterdir())
        assert len(made) == 3  # what is written last stands in a file of its own first
        assert not [one for one in made if one.stat().st_mode & 0o077]
