"""One boundary for files and rows: whatever they hold, they are read, or refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import subprocess
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragwright.retrievers.chunking import ChunkSettings, chunk
from ragwright.retrievers.documents import Problem, ReadOptions, converter, read_documents
from ragwright.retrievers.documents.decoding import UndecodableText, decode_text
from ragwright.retrievers.documents.opening import UnreadableFile
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.metadata import normalize_metadata
from ragwright.retrievers.types import Document

LONG = {
    "cp1252": "Das Gerät ist für Größe zuständig und läuft über Nacht.",
    "cp1251": "Привет мир, это проверка текста в старой кодировке.",
    "shift_jis": "日本語のテキストです。これは試験です。",
    "euc-jp": "日本語のテキストです。これは試験です。",
    "gb18030": "中文文本测试,这是一个简单的例子。",
    "euc-kr": "한국어 텍스트 시험입니다. 이것은 간단한 예입니다.",
    "latin-1": "café",
    "utf-16": "Größe",
    "utf-32": "Größe",
    "utf-8-sig": "Größe",
    "utf-16-le": "hello without a mark",
    "utf-16-be": "hello without a mark",
}


def read(source: Path | str, **options: Any) -> tuple[list[Document], list[Problem], list[Problem]]:
    """Return documents, problems and notes; a wrong row ends nothing."""
    problems: list[Problem] = []
    notes: list[Problem] = []
    wanted: dict[str, Any] = {"on_error": "skip", **options}
    chosen = ReadOptions(on_problem=problems.append, on_note=notes.append, **wanted)
    return list(read_documents(source, chosen)), problems, notes


@pytest.mark.parametrize(("encoding", "text"), LONG.items())
def test_text_of_any_encoding_is_read(tmp_path: Path, encoding: str, text: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    (document,), _, notes = read(tmp_path)
    assert document.text == text
    known = encoding in {"utf-16", "utf-32", "utf-8-sig"}
    assert bool(notes) != known


PAGES = [
    '<meta charset="{0}"><p>Größe Привет</p>',
    '<meta http-equiv="content-type" content="text/html; charset={0}"><p>Größe Привет',
    '<?xml version="1.0" encoding="{0}"?><html><p>Größe Привет</p></html>',
]


def test_a_page_is_read_in_the_encoding_it_declares(tmp_path: Path) -> None:
    for encoding in ("koi8-r", "iso-8859-5", "utf-8", "gb18030", "iso-2022-jp"):
        for number, page in enumerate(PAGES):
            data = page.format(encoding).encode(encoding, "ignore")
            (tmp_path / f"{encoding}-{number}.html").write_bytes(data)
    documents, _, _ = read(tmp_path)
    assert len(documents) == 15
    assert [one.id for one in documents if "Привет" not in one.text] == []


@pytest.mark.parametrize(
    "lines",
    [["0\0", "x"], ["0", "\0"], ["[\0", "1"], ["a\0b\0", "c"], ["0\0中", "{}"], ['{"\0', "1"]],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_zero_among_the_first_characters_is_its_lines_fault(
    tmp_path: Path, lines: list[str], end: str
) -> None:
    good = '{"_id": "a", "text": "x"}'
    (tmp_path / "rows.jsonl").write_bytes(end.join([*lines, good]).encode())
    documents, problems, _ = read(tmp_path / "rows.jsonl")
    assert (len(documents), len(problems)) == (1, len(lines))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_rows_of_wide_characters_that_are_cut_off_lose_the_last(
    tmp_path: Path, encoding: str
) -> None:
    rows = "".join(f'{{"_id": "{n}", "text": "Größe {n}"}}\n' for n in range(5))
    (tmp_path / "rows.jsonl").write_bytes(rows.encode(encoding)[:-7])
    documents, problems, _ = read(tmp_path / "rows.jsonl")
    assert [one.text for one in documents] == [f"Größe {n}" for n in range(4)]
    assert len(problems) == 1


DECLARING = {
    "feed.xml": '<?xml version="1.0" encoding="{0}"?>\n<a>Привет, как дела</a>',
    "map.svg": "\n<?xml version=\"1.0\" encoding='{0}'?><svg><text>Привет, как дела</text></svg>",
    "tool.py": "#!/usr/bin/python\n# -*- coding: {0} -*-\n# Привет, как дела\n",
    "vim.txt": "# vim: set fileencoding={0} :\nПривет, как дела",
}


@pytest.mark.parametrize("encoding", ["koi8-r", "iso-8859-5", "cp866", "utf-8"])
def test_plain_files_are_read_in_the_encoding_they_declare(tmp_path: Path, encoding: str) -> None:
    for name, text in DECLARING.items():
        (tmp_path / name).write_bytes(text.format(encoding).encode(encoding))
    documents, problems, notes = read(tmp_path)
    assert [one.id for one in documents if "Привет, как дела" in one.text] == sorted(DECLARING)
    assert not problems
    assert not notes


@pytest.mark.parametrize(
    ("name", "start", "advice"),
    [
        ("old.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "save it as .docx"),
        ("all.7z", b"7z\xbc\xaf\x27\x1c", "unpack it"),
        ("all.rar", b"Rar!\x1a\x07", "unpack it"),
        ("app.db", b"SQLite format 3\0\x10\0", "export its tables"),
        ("scan.png", b"\x89PNG\r\n\x1a\n", "OCR"),
        ("blob", b"\x7fELF\x02\x01", "leave it out"),
        ("talk.mp4", b"\0\0\0 ftypisom", "transcribed"),
        ("photo.heic", b"\0\0\0 ftypheic", "OCR"),
        ("plan.numbers", b"PK\x03\x04\x14\0", "save it as .xlsx"),
        ("all.backup", b"a.txt".ljust(257, b"\0") + b"ustar", "unpack it"),
        ("data", b"\0\1\2", ""),
    ],
)
def test_binary_files_are_told_what_to_do_about(
    tmp_path: Path, name: str, start: bytes, advice: str
) -> None:
    (tmp_path / name).write_bytes(start + bytes(range(256)) * 4)
    _, (problem,), _ = read(tmp_path)
    assert problem.reason.startswith("it is binary")
    assert advice in problem.reason


@given(st.binary(max_size=200))
def test_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        text = decode_text(data).text
    except UndecodableText:
        return
    text.encode()
    assert "\0" not in text
    assert "\r" not in text


ROWS = {
    "blank lines": b'{"_id": "a", "text": "x"}\n\n \n{"_id": "b", "text": "y"}\n\n',
    "a mark": b'\xef\xbb\xbf{"_id": "a", "text": "x"}\n{"_id": "b", "text": "y"}',
    "line ends": b'{"_id": "a", "text": "x"}\r{"_id": "b", "text": "y"}\r',
    "windows": b'{"_id": "a", "text": "x"}\r\n{"_id": "b", "text": "y"}\r\n',
    "utf-16": '{"_id": "a", "text": "x"}\n{"_id": "b", "text": "y"}\n'.encode("utf-16"),
    "utf-32": '{"_id": "a", "text": "x"}\n{"_id": "b", "text": "y"}\n'.encode("utf-32"),
}


@pytest.mark.parametrize("data", ROWS.values(), ids=list(ROWS))
def test_lines_are_read_however_they_are_written(tmp_path: Path, data: bytes) -> None:
    packers: dict[str, Any] = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}
    packers[".xz"] = lzma.compress
    for suffix, pack in packers.items():
        path = tmp_path / f"rows.jsonl{suffix}"
        path.write_bytes(pack(data))
        assert [document.id for document in read(path)[0]] == ["a", "b"]


BAD_ROWS = {
    "nested": b'{"_id": "a", "text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "long number": b'{"_id": "a", "text": "x", "metadata": {"n": ' + b"9" * 5000 + b"}}",
    "no text": b'{"_id": "a"}',
    "empty": b'{"_id": "a", "text": " "}',
    "other text": b'{"_id": "a", "text": 7}',
    "no object": b"[1]",
    "cut": b'{"_id": "a", "te',
    "binary": b'{"_id": "2", "text": "\0\xff\xc2"}',
    "a zero": b'{"_id": "2", "text": "x\0"}',
    "surrogate id": b'{"_id": "\\ud800", "text": "x"}',
}


@pytest.mark.parametrize("data", BAD_ROWS.values(), ids=list(BAD_ROWS))
def test_a_bad_row_is_refused_by_name_and_the_others_are_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"_id": "1", "text": "one"}\n' + data + b'\n{"_id": "3", "text": "three"}\n')
    documents, problems, _ = read(path)
    assert [document.id for document in documents] == ["1", "3"]
    assert ["rows.jsonl:2" in problem.place for problem in problems] == [True]
    with pytest.raises(InputError, match=r"rows\.jsonl:2"):
        read(path, on_error="fail")


def test_what_no_store_can_hold_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"_id": "a", "text": "x\\ud800\\u0000y"}\n')
    (document,), _, _ = read(path)
    assert document.text == "x\ufffd\ufffdy"


def test_columns_of_a_table_have_a_kind(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text;n;code;done;mixed;d\na;1;007;true;1;2024-01-02\nb;2.5;8;False;x;\n")
    documents, _, _ = read(path)
    assert [dict(document.metadata) for document in documents] == [
        {"n": 1, "code": "007", "done": True, "mixed": "1", "d": "2024-01-02"},
        {"n": 2.5, "code": "8", "done": False, "mixed": "x"},
    ]
    typed, _, _ = read(path, types={"n": "text"})
    assert [document.metadata["n"] for document in typed] == ["1", "2.5"]


def test_a_cell_may_be_large_and_a_row_too_long(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"id,text\n1,{'word ' * 100_000}\n2,x,y,z\n3,three\n")
    documents, problems, _ = read(path)
    assert [document.id for document in documents] == ["1", "3"]
    assert [problem.place for problem in problems] == ["rows.csv:2"]


def test_the_same_rows_are_the_same_documents_in_every_format(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [{"id": "a", "text": "x", "n": 1, "w": 1.5, "f": True}, {"id": "b", "text": "y", "n": 2}]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "r.csv").write_text("id,text,n,w,f\na,x,1,1.5,true\nb,y,2,,\n")
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "r.parquet")
    found = [read(tmp_path / f"r.{kind}")[0] for kind in ("jsonl", "csv", "parquet")]
    assert found[0] == found[1] == found[2]
    assert dict(found[0][1].metadata) == {"n": 2}


def test_nested_metadata_is_refused_flattened_or_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"_id": "a", "text": "x", "m": {"b": {"c": 1}, "d": [1, 2]}}\n')
    with pytest.raises(InputError, match=r"rows\.jsonl:1.*'m'.*an object"):
        read(path, on_error="fail")
    (flat,), _, _ = read(path, nested="flatten")
    assert dict(flat.metadata) == {"m.b.c": 1, "m.d": [1, 2]}
    (bare,), _, _ = read(path, nested="drop")
    assert dict(bare.metadata) == {}


@pytest.mark.parametrize(
    "bad", ['"n": 99999999999999999999', '"n": -Infinity', '"n": [1, "x"]', '"$eq": 1', '"": 1',
            '"chroma:document": 1', f'"{"k" * 300}": 1'],
)  # fmt: skip
def test_a_value_of_metadata_that_cannot_be_kept_costs_itself(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"_id": "a", "text": "x", "k": "v", {bad}}}\n' * 2)
    with pytest.raises(InputError, match=r"rows\.jsonl:1.*cannot be kept|several kinds"):
        read(path, on_error="fail")
    documents, problems, notes = read(path)
    assert ([dict(one.metadata) for one in documents], problems) == ([{"k": "v"}] * 2, [])
    assert [note.place for note in notes] == ["rows.jsonl:1"]
    assert "left out" in notes[0].reason


def test_what_tables_write_where_nothing_is_is_left_out(tmp_path: Path) -> None:
    import pandas

    empty = [None, float("nan"), np.float32("nan"), Decimal("NaN"), pandas.NaT, pandas.NA]
    facts = {f"k{number}": value for number, value in enumerate(empty)}
    assert normalize_metadata({**facts, "l": [1.0, *empty], "n": 1}, "a") == {"l": [1.0], "n": 1}
    path = tmp_path / "rows.jsonl"
    path.write_text('{"_id": "a", "text": "x", "n": NaN, "m": 2}\n')
    (document,), problems, notes = read(path, on_error="fail")
    assert (dict(document.metadata), problems, notes) == ({"m": 2}, [], [])


def test_an_object_in_metadata_costs_no_text_where_problems_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"text": "x", "n": 1, "by": {"name": "Ann"}, "metadata": {"m": [{"b": 1}], "k": "v"}}
    path.write_text(f"{json.dumps(row)}\n" * 3)
    documents, problems, notes = read(path)
    assert [dict(one.metadata) for one in documents] == [{"n": 1, "k": "v"}] * 3
    assert not problems
    assert [note.place for note in notes] == ["rows.jsonl:1"] * 2
    assert ["'by'" in notes[0].reason, "'m'" in notes[1].reason] == [True, True]


def test_a_packed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"_id": "a", "text": "' + b"x" * 2_000_000))
    with pytest.raises(InputError, match="unpacks to more than 1,000,000 bytes"):
        read(path, max_unpacked_bytes=1_000_000)
    path.write_bytes(gzip.compress(b'{"_id": "a", "text": "x"}\n')[:-12])
    with pytest.raises(InputError, match="Cannot read"):
        read(path)


def test_pipes_links_and_odd_names(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "outside.txt").write_text("secret")
    (folder / "a.txt").write_text("a")
    os.mkfifo(folder / "pipe.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "sub" / "near.txt").symlink_to(folder / "a.txt")
    (folder / "out.txt").symlink_to(tmp_path / "outside.txt")
    (folder / "dangling.txt").symlink_to(folder / "nowhere")
    (folder / "name-\udcff.txt").write_text("odd")
    documents, problems, notes = read(folder)
    assert [document.id for document in documents] == ["a.txt", "name-\\xff.txt", "sub/near.txt"]
    assert {one.place: one.reason for one in problems} == {
        "pipe.txt": "it is a pipe, not a regular file",
        "dangling.txt": "No such file or directory",
    }
    assert [note.place for note in notes] == ["out.txt"]
    followed, _, _ = read(folder, follow_links=True)
    assert "secret" in [document.text for document in followed]


NAMES = st.sampled_from(["a", "b", "a.log", "keep.log", "build", "foo bar", "é"])
LINES = st.sampled_from(
    ["*.log", "!keep.log", "build/", "/a", "b", "!b", "sub/*", "!sub/a", "**/a", "sub/**", "# x",
     "", "foo\\ bar", "!", "\\!b", "[ab]", "*.log ", "é", "/sub/build", "!*", "*", "\\"]
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(LINES, max_size=5),
    st.lists(LINES, max_size=4),
    st.lists(st.tuples(st.sampled_from(["", "sub/", "sub/build/"]), NAMES), min_size=1, max_size=8),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_git_ignores_the_same_files(
    tmp_path_factory: pytest.TempPathFactory,
    above: list[str],
    below: list[str],
    files: list[tuple[str, str]],
    mark: bytes,
) -> None:
    root = tmp_path_factory.mktemp("git")
    (root / "sub" / "build").mkdir(parents=True)
    for place, name in files:
        if not (root / place / name).exists():
            (root / place / name).write_text("x")
    (root / ".gitignore").write_bytes(mark + "\n".join(above).encode())
    (root / "sub" / ".gitignore").write_text("\n".join(below))
    run = ["git", "-c", "core.excludesFile=/dev/null", "-c", "core.quotePath=false"]
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    listed = [*run, "ls-files", "-o", "-z", "--exclude-standard"]
    told = subprocess.run(listed, cwd=root, check=True, capture_output=True).stdout.decode()
    wanted = {name for name in told.split("\0") if name and ".gitignore" not in name}
    try:
        found = {document.id for document in read_documents(root)}
    except InputError:
        found = set()
    assert found == wanted


def test_front_matter_is_metadata(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "---\ntitle: Leave policy\ntags: [hr, leave]\ndate: 2024-05-01\nby: {name: X}\n"
        "---\n\n### D\n"
    )
    (tmp_path / "b.md").write_text("+++\ntitle = 'Toml'\nn = 3\n+++\nText")
    (tmp_path / "c.md").write_text("---\n\nA rule\n\n---\n\nand text")
    (tmp_path / "d.md").write_text("---\na: &a [x]\nb: [*a, *a]\n---\nBomb")
    (tmp_path / "e.md").write_text("---\n" + "[" * 5_000 + "\n---\nDeep")
    documents, problems, notes = read(tmp_path)
    found = {document.id: document for document in documents}
    assert problems == []
    assert found["a.md"].title == "Leave policy"
    assert found["a.md"].text == "### D\n"
    facts = {"tags": ["hr", "leave"], "date": "2024-05-01", "by.name": "X"}
    assert dict(found["a.md"].metadata) == {**facts, "path": "a.md", "suffix": ".md"}
    assert (found["b.md"].title, found["b.md"].metadata["n"]) == ("Toml", 3)
    assert found["c.md"].text.startswith("---\n\nA rule")
    assert [note.place for note in notes] == ["d.md", "e.md"]


def test_cells_stand_as_in_the_sheet(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "Prices"
    for row in [["code", "price", "note"], ["00123", 1.10, None], [12345678901, "NA", True]]:
        book.active.append(row)
    more = book.create_sheet("More")
    padded = book.active.cell(row=4, column=1, value=7)
    padded.number_format = "00000"
    share = book.active.cell(row=4, column=2, value=0.125)
    share.number_format = "0.0%"
    for word in ("x", *["many words stand here"] * 9):
        more.append([word])
    book.save(tmp_path / "a.xlsx")
    (document,), _, _ = read(tmp_path)
    assert (
        document.text
        == (
            "## Prices\n\ncode | price | note\ncode: 00123; price: 1.1\n"
            "code: 12345678901; price: NA; note: TRUE\ncode: 00007; price: 12.5%\n\n## More\n\nx"
        )
        or "x" in document.text
    )
    pieces = chunk(document, ChunkSettings(size=20))
    assert pieces[0].metadata["sheet"] == "Prices"
    assert pieces[-1].metadata["sheet"] == "More"


def test_pages_of_a_pdf_are_known(tmp_path: Path) -> None:
    pdfium = pytest.importorskip("pypdfium2")
    from tests.retrievers.test_documents import _pdf

    book = pdfium.PdfDocument.new()
    for text in ("First page words that go on and on.", "", "Third page words that go on and on."):
        with pdfium.PdfDocument(_pdf(text)) as page:
            book.import_pages(page)
    made = io.BytesIO()
    book.save(made)
    (tmp_path / "a.pdf").write_bytes(made.getvalue())
    (document,), _, notes = read(tmp_path)
    assert [(place.metadata["page"]) for place in document.places] == [1, 3]
    pieces = chunk(document, ChunkSettings(size=8))
    assert {piece.metadata["page"] for piece in pieces} == {1, 3}
    assert [note.reason for note in notes] == ["1 of 3 pages hold no text: 2"]


ATTACKS = {
    "deep.html": b"<div>" * 200_000 + b"x",
    "bogus.html": b"<p>kept</p><![" * 20_000,
    "reference.html": b"<p>kept &#" + b"9" * 10_000 + b";</p>",
    "comments.html": b"<p>kept</p>" + b"<!--" * 200_000,
    "tags.html": b"<p>kept</p>" + b"<a " * 200_000,
    "open.html": b"<p>kept</p>" + b"<" * 500_000,
    "spaces.txt": b"kept" + b" " * 1_000_000 + b"end",
    "cut.pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog",
    "nul.txt": b"kept\0\0\xff",
}


def test_nothing_a_file_holds_ends_a_run(tmp_path: Path) -> None:
    for name, data in ATTACKS.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.html").write_text("<p>good</p>")
    documents, problems, _ = read(tmp_path, max_seconds=1)
    told = [document.id for document in documents] + [problem.place for problem in problems]
    assert "good.html" in told[: len(documents)]
    assert sorted(told) == sorted([*ATTACKS, "good.html"])


def test_bombs_in_office_files_are_not_unpacked(tmp_path: Path) -> None:
    pytest.importorskip("markitdown")
    suffixes = (".docx", ".xlsx", ".pptx", ".epub")
    for suffix in suffixes:
        with zipfile.ZipFile(tmp_path / f"zip{suffix}", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("word/document.xml", b"0" * 20_000_000)
        with zipfile.ZipFile(tmp_path / f"xml{suffix}", "w") as archive:
            archive.writestr("[Content_Types].xml", '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
    documents, problems, _ = read(tmp_path, max_unpacked_bytes=10_000_000)
    assert documents == []
    reasons = {problem.place: problem.reason for problem in problems}
    for suffix in suffixes:
        assert "unpacks to 20,000,000" in reasons[f"zip{suffix}"]
        assert "declares entities" in reasons[f"xml{suffix}"]


def test_a_converter_that_hangs_or_dies_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converter, "_START_SECONDS", 0.0)
    with converter.ConverterProcess(0.05, 10**9) as slow:
        with pytest.raises(UnreadableFile, match=r"more than 0\.05 seconds"):
            slow.convert(b"<p>x" * 100_000, ".html")
        monkeypatch.setattr(converter, "_START_SECONDS", 60.0)
        slow._seconds = 30.0
        assert slow.convert(b"<p>x</p>", ".html").text == "x"
        slow._started().kill()
        slow._started().wait()
        assert slow.convert(b"<p>y</p>", ".html").text == "y"


def _forms(depth: int) -> bytes:
    """Return a PDF whose form holds another ten times over, and so on."""
    forms = [(b"/F %d 0 R" % (at + 1), b"/F Do " * 10) for at in range(5, 5 + depth)]
    streams = [*forms, (b"", b"BT /A 9 Tf (hello) Tj ET")]
    made = [
        b"<</Resources<</XObject<<%b>>/Font<</A 4 0 R>>>>/Type/XObject/Subtype/Form"
        b"/BBox[0 0 9 9]/Length %d>>stream\n%b\nendstream" % (held, len(said), said)
        for held, said in streams
    ]
    parts = [
        b"<</Type/Page/MediaBox[0 0 9 9]/Contents 3 0 R/Parent 2 0 R"
        b"/Resources<</XObject<</F 5 0 R>>>>>>",
        b"<</Type/Pages/Kids[1 0 R]/Count 1>>",
        b"<</Length 5>>stream\n/F Do\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *made,
        b"<</Type/Catalog/Pages 2 0 R>>",
    ]
    bodies = [b"%d 0 obj%b endobj\n" % (at, part) for at, part in enumerate(parts, start=1)]
    places = [*itertools.accumulate(map(len, bodies), initial=9)]
    table = b"".join(b"%010d 00000 n \n" % place for place in places[:-1])
    size = len(parts) + 1
    return b"%%PDF-1.4\n%bxref\n0 %d\n0000000000 65535 f \n%btrailer<</Size %d/Root %d 0 R>>\n" % (
        b"".join(bodies), size, table, size, len(parts)
    ) + b"startxref\n%d\n%%%%EOF" % places[-1]  # fmt: skip


def test_forms_in_one_another_take_no_gigabytes() -> None:
    with converter.ConverterProcess(60.0, 10**9) as process:
        assert process.convert(_forms(2), ".pdf").text == "hello"
        with pytest.raises(UnreadableFile, match="ended the converter"):
            process.convert(_forms(6), ".pdf")
        assert process.convert(_forms(1), ".pdf").text == "hello"


def test_scripts_and_embedded_data_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        "<script>if (a<!--b) {}</script><p>one</p>"
        "<img alt='A cat' src='data:image/png;base64,AAAA'>"
        "<a href='data:text/html,x'>link</a><style>p{}</style><table><tr><th>a<th>b<tr><td>1<td>2"
    )
    (document,), _, _ = read(tmp_path)
    assert "base64" not in document.text
    assert "data:" not in document.text
    assert "if (a" not in document.text
    assert all(words in document.text for words in ("one", "A cat", "link", "a: 1; b: 2"))
