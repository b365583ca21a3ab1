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
from ragwright.retrievers.documents.convert import converted
from ragwright.retrievers.documents.opening import Unreadable
from ragwright.retrievers.types import Document
from tests.retrievers.test_documents import _write_docx

CELLS = st.text("abcé|*_ <&日", min_size=1, max_size=6).map(str.strip).filter(bool)
NAMES = st.lists(
    st.sampled_from(["Name", "Region", "Q 1", "a|b", "Größe"]), min_size=2, unique=True
)


def page(text: str) -> str:
    return converted(f"<meta charset=utf-8><body>{text}".encode(), ".html", 1 << 20).text


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
    text = converted(path.read_bytes(), ".docx", 1 << 20).text
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
    found = converted(message.as_bytes(), ".eml", 1 << 20)
    assert found.title == "Größe des Urlaubs"
    assert found.text.startswith("From: Jörg <a@b.de>\nSubject: Größe des Urlaubs")
    assert found.text.split()[7:] == body.split()
    assert bool(found.notes) == more


def test_a_mail_shows_its_plain_side_and_a_saved_page_its_text() -> None:
    message = EmailMessage()
    message["From"] = "a@b.de"
    message.set_content("Thirty days.\n")
    message.add_alternative("<p>Thirty <b>days</b></p>", subtype="html")
    assert converted(message.as_bytes(), ".eml", 1000).text == "From: a@b.de\n\nThirty days."
    saved = (
        b'MIME-Version: 1.0\nContent-Type: multipart/related; boundary="b"\n\n--b\nContent-Type: '
        b"text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<p>Gr=C3=B6=C3"
        b"=9Fe</p>\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--"
    )
    assert converted(saved, ".mhtml", 1000).text == "Größe"


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
    found = converted(message.as_bytes(), ".eml", 1 << 20)
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
    text = converted(made.getvalue(), ".pptx", 1 << 24).text
    assert text.endswith("| West | 2.5 |\n\n# Sales by region")


def test_a_notebook_is_its_cells_without_its_pictures() -> None:
    picture = {"output_type": "display_data", "data": {"image/png": "iVBOR" * 999}}
    printed = {"output_type": "stream", "text": ["30\n"]}
    cells = [
        {"cell_type": "markdown", "source": ["# Leave\n", "Thirty days"]},
        {"cell_type": "code", "source": "print(30)", "outputs": [picture, printed]},
    ]
    text = converted(json.dumps({"cells": cells}).encode(), ".ipynb", 1000).text
    assert text == "# Leave\nThirty days\n\n```\nprint(30)\n```\n\n```\n30\n```"


def test_rtf_is_read_without_its_words() -> None:
    data = rb"{\rtf1\ansi\ansicpg1252{\fonttbl\f0 A;}\f0 Thirty {\b days}. Gr\'f6\'dfe \u8364?\par}"
    assert converted(data, ".rtf", 1000).text == "Thirty days. Größe €"


def test_an_opendocument_text_has_headings_and_rows(tmp_path: Path) -> None:
    names = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "text", "table")
    )
    row = "".join(
        f"<table:table-row><table:table-cell><text:p>{a}</text:p></table:table-cell>"
        f"<table:table-cell><text:p>{b}</text:p></table:table-cell></table:table-row>"
        for a, b in (("Grade", "Days"), ("Junior", "25"))
    )
    with zipfile.ZipFile(tmp_path / "a.odt", "w") as archive:
        archive.writestr(
            "content.xml",
            f"<office:document-content{names}><office:body><office:text>"
            f'<text:h text:outline-level="2">Leave</text:h>'
            f"<text:p>Thirty<text:s/>days.</text:p><table:table>{row}</table:table>"
            "</office:text></office:body></office:document-content>",
        )
    data = (tmp_path / "a.odt").read_bytes()
    assert converted(data, ".odt", 1 << 20).text.split("\n\n") == [
        "## Leave", "Thirty days.", "Grade | Days\nGrade: Junior; Days: 25"
    ]  # fmt: skip


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
        converted(heads.get(suffix, b"") + data, suffix, 1000)
    except Unreadable:
        return


def test_a_table_may_have_columns_without_names_and_say_its_separator(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\nid;text;;n;\n1;Leave;x;30;\n", encoding="utf-8")
    (document,) = read_documents(tmp_path / "a.csv", ReadOptions())
    assert (document.id, document.text, dict(document.metadata)) == ("1", "Leave", {"n": 30})
