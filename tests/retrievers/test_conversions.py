"""What conversion keeps: rows with their columns, the text of mails, notebooks and the like."""

from __future__ import annotations

import html
import io
import json
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragwright.retrievers.documents import Problem, ReadOptions, read_documents
from ragwright.retrievers.documents.convert import convert_file
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.opening import UnreadableFile
from ragwright.retrievers.documents.pdf import without_page_numbers
from ragwright.retrievers.types import Document
from tests.retrievers.test_documents import _pdf, _write_docx

CELLS = st.text("abcé|*_ <&日", min_size=1, max_size=6).map(str.strip).filter(bool)
NAMES = st.lists(
    st.sampled_from(["Name", "Region", "Q 1", "a|b", "Größe"]), min_size=2, unique=True
)


def page(text: str) -> str:
    return convert_file(f"<meta charset=utf-8><body>{text}".encode(), ".html", 1 << 20).text


def row(cells: list[str], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(NAMES, st.data())
def test_every_row_of_a_page_says_its_columns(names: list[str], data: st.DataObject) -> None:
    width = len(names)
    rows = data.draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1))
    text = page(f"<table>{row(names, 'th')}{''.join(map(row, rows))}</table>")
    lines = [
        "; ".join(
            f"{name}: {' '.join(cell.split())}" for name, cell in zip(names, cells, strict=True)
        )
        for cells in rows
    ]
    assert text.splitlines() == [" | ".join(names), *lines]


TABLES = {
    "rows that span": (
        "<tr><th>Region<th>Q<th>Sales<tr><td rowspan=2>North<td>1<td>10<tr><td>2<td>20",
        ["Region: North; Q: 1; Sales: 10", "Region: North; Q: 2; Sales: 20"],
    ),
    "columns that span": (
        "<tr><th colspan=2>Money<th>Year<tr><th>in<th>out<th></th><tr><td>1<td>2<td>2024",
        ["Money in: 1; Money out: 2; Year: 2024"],
    ),
    "its own heads": ("<tr><th>Days<td>30<tr><th>Who<td>all", ["Days: 30", "Who: all"]),
    "a box": (
        "<tr><th colspan=2>Pump<tr><td colspan=2>Picture<tr><th>Born<td>1206<tr><th>Use<td>water",
        ["Pump", "Picture", "Born: 1206", "Use: water"],
    ),
    "no heads": ("<tr><td>1<td>2<tr><td>3<td>4", ["1 | 2", "3 | 4"]),
    "a table in it": ("<tr><td>A<table><tr><td>x<td>y</table><td>B", ["A x | y | B"]),
    "spans without end": ("<tr><td colspan=99999999 rowspan=9999999>1<td>2", ["1 | 2"]),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_gives_rows(kind: str) -> None:
    table, lines = TABLES[kind]
    assert page(f"<table>{table}</table>").splitlines()[-len(lines) :] == lines


def test_what_stands_apart_is_not_glued_together() -> None:
    text = page("<main>m</main><nav>n</nav><footer>f</footer><select><option>A<option>B</select>")
    assert text.split() == ["m", "n", "f", "A", "B"]


def test_rows_of_a_word_document_say_their_columns(tmp_path: Path) -> None:
    cell = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    rows = [("Grade", "Days"), ("Junior", "25"), ("Senior | all", "30")]
    table = "".join(f"<w:tr>{''.join(map(cell.format, cells))}</w:tr>" for cells in rows)
    path = tmp_path / "a.docx"
    _write_docx(path, f"x</w:t></w:r></w:p><w:tbl>{table}</w:tbl><w:p><w:r><w:t>end")
    text = convert_file(path.read_bytes(), ".docx", 1 << 20).text
    assert text.split("\n\n") == [
        "x", "Grade | Days\nGrade: Junior; Days: 25\nGrade: Senior | all; Days: 30", "end"
    ]  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(
    st.text("abc äö日本語Привет.,\n", min_size=1).filter(lambda text: bool(text.strip())),
    st.sampled_from(["utf-8", "gb18030"]),
    st.sampled_from(["plain", "html"]),
    st.booleans(),
)
def test_a_mail_is_its_heads_and_its_body(body: str, charset: str, kind: str, more: bool) -> None:
    message = EmailMessage()
    message["Subject"], message["From"] = "Größe des Urlaubs", "Jörg <a@b.de>"
    message.set_content(body, subtype=kind, charset=charset, cte="base64")
    if more:
        message.add_attachment(b"\0\1", maintype="image", subtype="png", filename="chart.png")
    found = convert_file(message.as_bytes(), ".eml", 1 << 20)
    assert found.title == "Größe des Urlaubs"
    assert found.text.startswith("From: Jörg <a@b.de>\nSubject: Größe des Urlaubs")
    assert found.text.split()[7:] == body.split()
    assert bool(found.notes) == more


def test_a_mail_shows_its_plain_side_and_a_saved_page_its_text() -> None:
    message = EmailMessage()
    message["From"] = "a@b.de"
    message.set_content("Thirty days.\n")
    message.add_alternative("<p>Thirty <b>days</b></p>", subtype="html")
    assert convert_file(message.as_bytes(), ".eml", 1000).text == "From: a@b.de\n\nThirty days."
    saved = (
        b'MIME-Version: 1.0\nContent-Type: multipart/related; boundary="b"\n\n--b\nContent-Type: '
        b"text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<p>Gr=C3=B6=C3"
        b"=9Fe</p>\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--"
    )
    assert convert_file(saved, ".mhtml", 1000).text == "Größe"


def test_a_mail_with_a_blank_plain_side_is_its_page_and_latin_1_is_windows() -> None:
    message = EmailMessage()
    message["From"] = "a@b.de"
    message.set_content(" \n")
    message.add_alternative("<p>Thirty <b>days</b></p>", subtype="html")
    assert convert_file(message.as_bytes(), ".eml", 1000).text.endswith("Thirty **days**")
    head = b"From: a@b.de\nContent-Type: text/plain; charset=iso-8859-1\n\n"
    sent = head + b"It costs 5\x80, \x93net\x94."
    assert convert_file(sent, ".eml", 1000).text.endswith("It costs 5€, “net”.")


GRID = "".join(
    f") Tj ET BT 1 0 0 1 {72 + 150 * column} {700 - 20 * line} Tm /F1 12 Tf 14.4 TL ({cell}) Tj T* "
    "ET BT ("
    for line, row in enumerate(("Name Price Qty", "Bolt 1.20 5", "Nut - 7"))
    for column, cell in enumerate(row.split())
    if cell != "-"
)
"""Cells as report generators place them, one by one."""


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (GRID, ["Name", "Price", "Qty", "Bolt", "1.20", "5", "Nut", "7"]),
        ("docu-) Tj 0 -14 Td (mentation", ["documentation"]),
        ("Part AB-) Tj 0 -14 Td (1234", ["Part", "AB-1234"]),
    ],
)
def test_words_of_a_pdf_are_neither_glued_nor_changed(lines: str, text: list[str]) -> None:
    assert convert_file(_pdf(lines), ".pdf", 1000).text.split() == text


def test_a_mail_gives_the_mails_that_it_forwards() -> None:
    message = EmailMessage()
    message.set_content("Thirty days.")
    message.add_attachment(b"\0", maintype="image", subtype="png", filename="chart.png")
    for number in range(3):
        message["From"], message["Subject"] = f"{number}@b.de", f"Leave {number}"
        outer = EmailMessage()
        outer.set_content(f"See below {number}.")
        outer.add_attachment(message)
        message = outer
    found = convert_file(message.as_bytes(), ".eml", 1 << 20)
    parts = ["See below 2", "Forwarded: Leave 2", "From: 2@b.de", "See below 1", "See below 0"]
    told = [found.text.index(part) for part in [*parts, "From: 0@b.de", "Thirty"]]
    assert told == sorted(told)


def test_shapes_behind_a_chart_start_a_line_of_their_own() -> None:
    from pptx import Presentation
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE

    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Sales by region"
    data = CategoryChartData()
    data.categories = ["East", "West"]
    data.add_series("Sales", (1.5, 2.5))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, 99, 99, data)
    made = io.BytesIO()
    deck.save(made)
    text = convert_file(made.getvalue(), ".pptx", 1 << 24).text
    assert text.endswith("| West | 2.5 |\n\n# Sales by region")


def test_a_notebook_is_its_cells_without_its_pictures() -> None:
    picture = {"output_type": "display_data", "data": {"image/png": "iVBOR" * 999}}
    printed = {"output_type": "stream", "text": ["30\n"]}
    cells = [
        {"cell_type": "markdown", "source": ["# Leave\n", "Thirty days"]},
        {"cell_type": "code", "source": "print(30)", "outputs": [picture, printed]},
    ]
    text = convert_file(json.dumps({"cells": cells}).encode(), ".ipynb", 1000).text
    assert text == "# Leave\nThirty days\n\n```\nprint(30)\n```\n\n```\n30\n```"


def test_a_notebook_shows_its_errors_and_what_it_made_for_people() -> None:
    outputs = [
        {"output_type": "error", "ename": "ValueError", "evalue": "no days", "traceback": ["..."]},
        {
            "data": {
                "text/plain": ["<IPython.core.display.Markdown object>"],
                "text/markdown": "*30*",
            }
        },
        {"data": {"text/html": "<table><tr><th>Grade<th>Days<tr><td>A<td>30</table>"}},
        {"data": {"text/plain": "<Figure size 640x480 with 1 Axes>", "image/png": "iVBOR"}},
    ]
    book = {"cells": [{"cell_type": "code", "source": "", "outputs": outputs}]}
    text = convert_file(json.dumps(book).encode(), ".ipynb", 1000).text
    assert text == "```\nValueError: no days\n```\n\n*30*\n\nGrade | Days\nGrade: A; Days: 30"


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("10<sup>6</sup> at 5<sup>th</sup>, E<sup>-3</sup>", "10⁶ at 5th, E⁻³"),
        ("x<sup>n+1</sup> y<sup>[3]</sup> H<sub>2</sub>O", "x^(n+1) y[3] H2O"),
        ("cost 100<sup><a href='#f1'>1</a></sup>", "cost 100¹"),
        ("<table><tr><th>N<th>m<sup>2</sup><tr><td>x<b>y</b>z<td>9<br>8</table>",
         "N | m²\nN: xyz; m²: 9 8"),
        ("snake_case __init__ 2*3*4", "snake_case __init__ 2*3*4"),
        ("a<script src='x'/><p>b</p>", "a\n\nb"),
        ("a<script>1</script><p>b</p>", "a\n\nb"),
    ],
)  # fmt: skip
def test_a_page_says_what_its_signs_say(markup: str, text: str) -> None:
    assert page(markup) == text


@pytest.mark.parametrize(
    ("name", "data", "text", "title"),
    [
        ("a.xls", "<html><table><tr><td>A<td>B<tr><td>1<td>2</table></html>", "A: 1; B: 2", "a"),
        ("view.aspx", "<!DOCTYPE html>\n<h1>Leave</h1><p>30 days", "# Leave\n\n30 days", "Leave"),
        ("about", "<!-- saved -->\n<html><p>30 &euro;", "30 €", "about"),
        ("a.doc", r"{\rtf1\ansi 30 {\b days}\par}", "30 days", "a"),
        ("a.txt", "The tag <html> begins a page.", "The tag <html> begins a page.", "a"),
    ],
)
def test_pages_and_rtf_are_read_under_any_name(
    tmp_path: Path, name: str, data: str, text: str, title: str
) -> None:
    (tmp_path / name).write_text(data)
    (document,) = read_documents(tmp_path / name)
    assert document.text.endswith(text)
    assert "<p>" not in document.text
    assert document.title == title


def test_equations_of_a_word_document_stay_when_one_is_odd(tmp_path: Path) -> None:
    """A fraction may leave out its properties; a power without an exponent is none."""
    letter = "<m:r><m:t>{}</m:t></m:r>".format
    equations = (
        f"<m:f><m:num>{letter('a')}</m:num><m:den>{letter('b')}</m:den></m:f>",
        f"<m:limLow><m:e>{letter('c')}</m:e></m:limLow>",
    )
    name = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    inner = "".join(f"<m:oMath {name}>{one}</m:oMath>" for one in equations)
    _write_docx(tmp_path / "a.docx", f"Area </w:t></w:r>{inner}<w:r><w:t>.")
    text = convert_file((tmp_path / "a.docx").read_bytes(), ".docx", 1 << 24).text
    assert text == r"Area $\frac{a}{b}$$c$."


def test_rtf_is_read_without_its_words() -> None:
    data = rb"{\rtf1\ansi\ansicpg1252{\fonttbl\f0 A;}\f0 Thirty {\b days}. Gr\'f6\'dfe \u8364?\par}"
    assert convert_file(data, ".rtf", 1000).text == "Thirty days. Größe €"


def opened(content: str, suffix: str) -> FileText:
    """Convert an OpenDocument file with this in its body."""
    names = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "text", "table", "xlink")
    )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(
            "content.xml",
            f"<office:document-content{names}><office:body>{content}</office:body>"
            "</office:document-content>",
        )
    return convert_file(made.getvalue(), suffix, 1 << 20)


def cells(*rows: str) -> str:
    """Return rows of cells; `3*x` stands in three columns, as programs write it."""
    made = ""
    for cell in (cell for row in rows for cell in [*row.split("|"), ""]):
        count, _, text = cell.rpartition("*")
        many = f' table:number-columns-repeated="{count}"' if count else ""
        made += f"<table:table-cell{many}><text:p>{text}</text:p></table:table-cell>"
        made += "" if cell else "</table:table-row><table:table-row>"
    return f"<table:table-row>{made}</table:table-row>"


def test_an_opendocument_text_has_headings_and_rows() -> None:
    text = opened(
        '<office:text><text:h text:outline-level="2">Leave</text:h>'
        f"<text:p>Thirty<text:s/>days.</text:p><table:table>{cells('Grade|Days', 'Junior|25')}"
        "</table:table></office:text>",
        ".odt",
    ).text
    assert text.split("\n\n") == [
        "## Leave", "Thirty days.", "Grade | Days\nGrade: Junior; Days: 25"
    ]  # fmt: skip


def test_notes_of_an_opendocument_text_part_no_sentence_and_links_lead_somewhere() -> None:
    text = opened(
        "<office:text><text:p>Thirty days<text:note><text:note-citation>1</text:note-citation>"
        "<text:note-body><text:p>In full years.</text:p></text:note-body></text:note> of leave, "
        'see <text:a xlink:href="https://x.org/a">here</text:a>.</text:p></office:text>',
        ".odt",
    ).text
    assert text == ("Thirty days[1] of leave, see [here](https://x.org/a).\n\n[1] In full years.")


def test_cells_that_are_written_once_for_several_columns_stand_in_each() -> None:
    found = opened(
        f'<office:spreadsheet><table:table table:name="Pay">'
        f"{cells('Grade|Min|Max|Note', 'A|2*7|ok', 'B|2*|late')}</table:table>"
        f'<table:table table:name="Other">{cells("alone")}</table:table></office:spreadsheet>',
        ".ods",
    )
    assert found.text == (
        "## Pay\n\nGrade | Min | Max | Note\nGrade: A; Min: 7; Max: 7; Note: ok\n"
        "Grade: B; Note: late\n\n## Other\n\nalone"
    )
    assert found.places == [
        (0, {"sheet": "Pay"}),
        (found.text.index("## Other"), {"sheet": "Other"}),
    ]


@pytest.mark.parametrize("suffix", [".eml", ".mhtml", ".ipynb", ".rtf", ".odt", ".ods"])
def test_what_is_none_of_these_is_refused(tmp_path: Path, suffix: str) -> None:
    problems: list[Problem] = []
    for number, data in enumerate((b"\0\1\2", b"x", b"[]", b'{"cells": 5}', b"{\\rtf1", b"PK\3\4")):
        (tmp_path / f"{number}{suffix}").write_bytes(data)
    options = ReadOptions(on_error="skip", on_problem=problems.append)
    found: list[Document] = list(read_documents(tmp_path, options))
    assert len(found) + len(problems) == 6
    assert len(found) <= 1


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".eml", ".ipynb", ".rtf", ".mht"]))
def test_bytes_of_any_kind_are_read_or_refused(data: bytes, suffix: str) -> None:
    heads = {".eml": b"Subject: x\nContent-Type: text/plain; charset=", ".rtf": b"{\\rtf1\\ansi "}
    try:
        convert_file(heads.get(suffix, b"") + data, suffix, 1000)
    except UnreadableFile:
        return


def test_a_table_may_have_columns_without_names_and_say_its_separator(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\nid;text;;n;\n1;Leave;x;30;\n", encoding="utf-8")
    (document,) = read_documents(tmp_path / "a.csv", ReadOptions())
    assert (document.id, document.text, dict(document.metadata)) == ("1", "Leave", {"n": 30})


@pytest.mark.parametrize(
    ("pages", "read"),
    [
        (["Pumps\nPage 1 of 3", "run\nPage 2 of 3", "hot.\nPage 3 of 3"], "Pumps run hot."),
        (["A\n7\nPumps", "A\n8\nrun", "hot.", "A\n10\nEnd"], "A Pumps A run hot. A End"),
        (["Seite 1\na", "Seite 2\nb"], "Seite 1 a Seite 2 b"),
        (["Lesson 1\na", "Lesson 2\nb", "Lesson 3\nc"], "Lesson 1 a Lesson 2 b Lesson 3 c"),
        (["1\n5", "1\n9", "1\n4"], "1 5 1 9 1 4"),
        (["1", "2", "3"], ""),
    ],
)  # fmt: skip
def test_numbers_of_pages_are_no_text_of_a_pdf(pages: list[str], read: str) -> None:
    assert " ".join(without_page_numbers(pages)).split() == read.split()
