"""Files are read by what they hold where their names say something else."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from ragwright.retrievers.documents import Problem, ReadOptions, read_documents
from ragwright.retrievers.documents.convert import suffix_by_content

WORDS = "Pumps run hot."


def word() -> bytes:
    namespace = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = f"<w:body><w:p><w:r><w:t>{WORDS}</w:t></w:r></w:p></w:body>"
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    part = f'<Override PartName="/word/document.xml" ContentType="{kind}"/>'
    linked = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    link = f'<Relationship Id="r1" Type="{office}" Target="word/document.xml"/>'
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{types}">{part}</Types>',
            "_rels/.rels": f'<Relationships xmlns="{linked}">{link}</Relationships>',
            "word/document.xml": f'<w:document xmlns:w="{namespace}">{body}</w:document>',
        }
    )


def sheet() -> bytes:
    from openpyxl import Workbook

    made, book = io.BytesIO(), Workbook()
    book.active.append([WORDS])
    book.save(made)
    return made.getvalue()


def slides() -> bytes:
    from pptx import Presentation

    made, deck = io.BytesIO(), Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = WORDS
    deck.save(made)
    return made.getvalue()


def zipped(files: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


def odt() -> bytes:
    text = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
    office = "urn:oasis:names:tc:opendocument:xmlns:office:1.0"
    body = f'<office:text><t:p xmlns:t="{text}">{WORDS}</t:p></office:text>'
    content = f'<office:body xmlns:office="{office}">{body}</office:body>'
    mime = "application/vnd.oasis.opendocument.text"
    return zipped({"mimetype": mime, "content.xml": content})


PAGE = f"<!DOCTYPE html><html><body><p>{WORDS}</p></body></html>".encode()
RTF = b"{\\rtf1 " + WORDS.encode() + b"}"
KINDS = {".docx": word, ".xlsx": sheet, ".pptx": slides, ".odt": odt}
NAMES = [".zip", ".docx", ".xlsx", ".pptx", ".odt", ".epub", ".doc", ".xls", ".bin", ""]


def read(path: Path) -> tuple[list[tuple[str, str]], list[Problem]]:
    problems: list[Problem] = []
    options = ReadOptions(on_error="skip", on_problem=problems.append)
    return [(one.id, one.text) for one in read_documents(path, options)], problems


@pytest.mark.parametrize("kind", KINDS)
def test_office_files_are_known_by_what_they_hold(tmp_path: Path, kind: str) -> None:
    data = KINDS[kind]()
    assert {suffix_by_content(data, name) for name in NAMES} == {kind}
    (tmp_path / "report.zip").write_bytes(data)
    for source in (tmp_path, tmp_path / "report.zip"):
        ((id, text),), problems = read(source)
        assert (id, problems) == ("report.zip", [])
        assert WORDS in text


@pytest.mark.parametrize(("data", "kind"), [(PAGE, ".html"), (RTF, ".rtf"), (b"%PDF-1.4", ".pdf")])
def test_what_is_no_archive_is_known_by_its_start(data: bytes, kind: str) -> None:
    assert {suffix_by_content(data, name) for name in NAMES} == {kind}


@pytest.mark.parametrize("name", ["all.docx", "all.xlsx", "all.epub"])
@pytest.mark.parametrize("first", ["a.md", "word/a.md", "report.docx"])
def test_an_archive_under_an_office_name_is_unpacked(tmp_path: Path, name: str, first: str) -> None:
    files = {first: WORDS, "xl/b.md": "Cold.", "c.docx": ""}
    (tmp_path / name).write_bytes(zipped(files))
    ids = {id for id, _ in read(tmp_path)[0]}
    assert ids == {f"{name}:{inner}" for inner in files if not inner.endswith(".docx")}


def test_an_archive_of_office_files_stays_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("word/a.docx", word())
        archive.writestr("b.xlsx", sheet())
    assert [id for id, _ in read(tmp_path)[0]] == ["all.zip:b.xlsx", "all.zip:word/a.docx"]


OLD, LOCKED = b"\xd0\xcf\x11\xe0" + bytes(600), "EncryptedPackage".encode("utf-16-le")
OTHERS: list[tuple[bytes, str, str]] = [
    (OLD, ".docx", "it is no .docx file, but of Microsoft Office before 2007"),
    (OLD + LOCKED, ".xlsx", "it is locked with a password"),
    (PAGE, ".pdf", "it is no .pdf file, but a page of HTML"),
    (b"\x89PNG\r\n", ".pdf", "it is no .pdf file, but an image"),
    (b"words", ".pptx", "it is no .pptx file"),
]


@pytest.mark.parametrize(("data", "suffix", "reason"), OTHERS)
def test_what_cannot_be_read_is_told_by_what_it_is(
    tmp_path: Path, data: bytes, suffix: str, reason: str
) -> None:
    (tmp_path / f"a{suffix}").write_bytes(data)
    ((problem,),) = (read(tmp_path)[1],)
    assert problem.reason.startswith(reason)
