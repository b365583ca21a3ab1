"""What converters leave out of documents: read where it belongs, or said to be left out."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.chunking import ChunkSettings, chunk
from ragwright.retrievers.documents.convert import convert_file
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.messages import rtf_text
from ragwright.retrievers.types import TABLE_HEADER, Document
from tests.retrievers.test_conversions import cells, opened, page
from tests.retrievers.test_documents import _pdf, _write_docx

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
COMPATIBLE = "http://schemas.openxmlformats.org/markup-compatibility/2006"
SHAPE = "http://schemas.microsoft.com/office/word/2010/wordprocessingShape"
DRAWN = "http://schemas.openxmlformats.org/drawingml/2006/main"
KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def run(text: str) -> str:
    return f'<w:r xmlns:w="{WORD}"><w:t xml:space="preserve">{text}</w:t></w:r>'


def changed(data: bytes, change: Callable[[str, bytes], bytes], **more: str) -> bytes:
    """Return a zip archive with its parts changed, and with more of them."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(made, "w") as copy:
        for name in archive.namelist():
            if name not in more:
                copy.writestr(name, change(name, archive.read(name)))
        for name, text in more.items():
            copy.writestr(name, text)
    return made.getvalue()


def word(folder: Path, inner: str, **more: str) -> FileText:
    _write_docx(folder / "a.docx", f"Before </w:t></w:r>{inner}<w:r><w:t> after.")
    data = (folder / "a.docx").read_bytes()
    return convert_file(changed(data, lambda _, part: part, **more), ".docx", 1 << 24)


@pytest.mark.parametrize("name", ["fldSimple", "customXml", "moveTo", "dir", "bdo", "ins"])
def test_words_within_a_field_or_a_change_are_read(tmp_path: Path, name: str) -> None:
    inner = f'<w:{name} xmlns:w="{WORD}" w:instr="DATE">{run("words")}</w:{name}>'
    assert word(tmp_path, inner).text == "Before words after."
    assert word(tmp_path, inner.replace(name, "del")).text == "Before after."


HELD = "<w:sdt><w:sdtPr>{}</w:sdtPr><w:sdtContent>{}</w:sdtContent></w:sdt>"
BOX = '<b:checkbox xmlns:b="http://schemas.microsoft.com/office/word/2010/wordml">{}</b:checkbox>'


@pytest.mark.parametrize(
    ("inner", "read"),
    [
        ("<w:r><w:rPr><w:vanish/></w:rPr><w:t>No</w:t></w:r>", ""),
        ('<w:r><w:rPr><w:vanish w:val="0"/></w:rPr><w:t>Yes</w:t></w:r>', "Yes"),
        (HELD.format("<w:showingPlcHdr/>", run("Click to enter text")), ""),
        (HELD.format(BOX.format('<b:checked b:val="1"/>'), run("☒")), "☒"),
        (HELD.format(BOX.format('<b:checked b:val="0"/>'), run("☐")), "☐"),
        (
            f"<w:r><w:ruby><w:rt>{run('kan')}</w:rt><w:rubyBase>{run('漢')}</w:rubyBase>"
            "</w:ruby></w:r>",
            "漢(kan)",
        ),
    ],
)
def test_what_word_shows_is_read_and_what_it_hides_is_not(
    tmp_path: Path, inner: str, read: str
) -> None:
    said = inner.replace(">", f' xmlns:w="{WORD}">', 1)
    assert word(tmp_path, said).text.split() == f"Before {read} after.".split()


@pytest.mark.parametrize(
    ("inner", "read"),
    [
        ('<T:p>A<T:hidden-text T:is-hidden="true">No</T:hidden-text></T:p>', "A"),
        ('<T:p><T:hidden-paragraph T:is-hidden="true"/>No</T:p><T:p>A</T:p>', "A"),
        ('<T:section T:display="none"><T:p>No</T:p></T:section><T:p>A</T:p>', "A"),
        (
            "<T:p><T:ruby><T:ruby-base>漢</T:ruby-base>"
            "<T:ruby-text>kan</T:ruby-text></T:ruby></T:p>",
            "漢(kan)",
        ),
    ],
)  # fmt: skip
def test_hidden_words_of_an_opendocument_text_are_not_read(inner: str, read: str) -> None:
    made = opened(f"<office:text>{inner.replace('T:', 'text:')}</office:text>", ".odt")
    assert made.text == read


@pytest.mark.parametrize("again", [True, False])
def test_a_text_box_of_a_word_document_is_read_once(tmp_path: Path, again: bool) -> None:
    box = f"<w:txbxContent><w:p>{run('In the box')}</w:p></w:txbxContent>"
    fallback = f"<mc:Fallback><w:pict>{box}</w:pict></mc:Fallback>" if again else ""
    text = word(
        tmp_path,
        f'<w:r xmlns:w="{WORD}" xmlns:mc="{COMPATIBLE}" xmlns:s="{SHAPE}"><mc:AlternateContent>'
        f'<mc:Choice Requires="s"><w:drawing><s:txbx>{box}</s:txbx></w:drawing></mc:Choice>'
        f"{fallback}</mc:AlternateContent></w:r>",
    ).text
    assert text.count("In the box") == 1


def test_heads_of_pages_and_comments_of_a_word_document(tmp_path: Path) -> None:
    part = '<w:{0} xmlns:w="{1}"><w:p>{2}</w:p><w:p>{3}</w:p></w:{0}>'
    comments = (
        f'<w:comments xmlns:w="{WORD}"><w:comment w:id="0"/><w:comment w:id="1"/></w:comments>'
    )
    found = word(
        tmp_path,
        "",
        **{
            "word/header1.xml": part.format("hdr", WORD, run("ACME Ltd"), run("Page 1 of 9")),
            "word/footer2.xml": part.format("ftr", WORD, run("Version 7"), run("- 3 -")),
            "word/comments.xml": comments,
        },
    )
    assert found.text == "Before after.\n\nACME Ltd\n\nVersion 7"
    assert found.notes == ["its 2 comments are not read"]


def _deck() -> bytes:
    from pptx import Presentation

    deck = Presentation()
    for title in ("One", "Two"):
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = title
    made = io.BytesIO()
    deck.save(made)
    return made.getvalue()


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".ppsx", "slideshow"), (".potx", "template"), (".pptx", "presentation")]
)
def test_slide_shows_and_the_words_of_their_diagrams_are_read(suffix: str, kind: str) -> None:
    said = f'<d:dataModel xmlns:d="x" xmlns:a="{DRAWN}"><a:p><a:r><a:t>Plan, do</a:t></a:r></a:p>'
    relation = f'<Relationship Id="rD" Type="{KIND}/diagramData" Target="../diagrams/data1.xml"/>'

    def change(name: str, part: bytes) -> bytes:
        if name == "ppt/slides/_rels/slide2.xml.rels":
            return part.replace(b"</Relationships>", f"{relation}</Relationships>".encode())
        return part.replace(b"presentation.main", f"{kind}.main".encode())

    more = {"ppt/diagrams/data1.xml": f"{said}</d:dataModel>"}
    found = convert_file(changed(_deck(), change, **more), suffix, 1 << 24)
    assert found.text == "# One\n\n# Two\nPlan, do"


@pytest.mark.parametrize(("show", "read"), [("", True), ("1", True), ("0", False)])
def test_a_slide_that_is_not_shown_is_not_read(show: str, read: bool) -> None:
    from pptx import Presentation

    made, deck = io.BytesIO(), Presentation()
    for title in ("Shown", "Spare", "End"):
        slide = deck.slides.add_slide(deck.slide_layouts[5])
        slide.shapes.title.text = title
    if show:
        deck.slides[1].element.set("show", show)
    deck.save(made)
    found = convert_file(made.getvalue(), ".pptx", 10_000_000)
    assert ("Spare" in found.text) is read
    numbers = [facts["slide"] for _, facts in found.places]
    assert numbers == ([1, 2, 3] if read else [1, 3])
    assert found.notes == ([] if read else ["the slide 2 is hidden, and is not read"])


@pytest.mark.parametrize("suffix", [".xlsx", ".xltx"])
def test_notes_on_cells_are_read_with_their_sheet(suffix: str) -> None:
    import openpyxl
    from openpyxl.comments import Comment

    book = openpyxl.Workbook()
    for row in (["Name", "Sum"], ["A", 5]):
        book.active.append(row)
    book.active["B2"].comment = Comment("Includes a refund", "Ann")
    book.create_sheet("Next")["A1"] = "end"
    made = io.BytesIO()
    book.save(made)
    text = convert_file(made.getvalue(), suffix, 1 << 24).text
    assert text.split("\n\n") == [
        "## Sheet", "Name | Sum\nName: A; Sum: 5\nNote at B2: Includes a refund", "## Next", "end"
    ]  # fmt: skip


def test_flat_opendocument_files_are_read_as_packed_ones_are() -> None:
    names = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "text", "table")
    )
    table = f'<table:table table:name="Pay">{cells("Grade|Days", "A|30")}</table:table>'
    flat = (
        f"<?xml version='1.0'?><office:document{names}><office:meta>x</office:meta>"
        f"<office:body><office:spreadsheet>{table}</office:spreadsheet></office:body>"
        "</office:document>"
    ).encode()
    assert convert_file(flat, ".fods", 1 << 20).text == "## Pay\n\nGrade | Days\nGrade: A; Days: 30"
    from ragwright.retrievers.documents.opening import UnreadableFile

    bomb = flat.replace(b"<office:document", b"<!DOCTYPE a [<!ENTITY b 'c'>]><office:document", 1)
    for data in (bomb, b"<a/>", b"plain text"):
        with pytest.raises(UnreadableFile):
            convert_file(data, ".fods", 1 << 20)


def test_comments_of_an_opendocument_text_are_said() -> None:
    found = opened(
        "<office:text><text:p>Thirty<office:annotation><text:p>sure?</text:p></office:annotation>"
        " days.</text:p></office:text>",
        ".odt",
    )
    assert (found.text, found.notes) == ("Thirty days.", ["its 1 comments are not read"])


def _noted(subtype: str, more: str) -> bytes:
    note = f"<< /Type /Annot /Subtype /{subtype} /Rect [50 50 250 90] {more} >>"
    return re.sub(rb"/Type/Page(?!s)", b"/Type/Page/Annots [" + note.encode() + b"]", _pdf("Form"))


@pytest.mark.parametrize(
    ("subtype", "more", "said"),
    [
        ("FreeText", "/Contents (Approved by Ann) /DA (/F1 12 Tf)", ["Approved by Ann"]),
        ("Text", "/Contents (Ask \\050again\\051)", ["Ask (again)"]),
        ("Link", "/Contents (a link)", []),
    ],
)
def test_what_is_written_onto_a_page_of_a_pdf_is_read(
    subtype: str, more: str, said: list[str]
) -> None:
    data = _noted(subtype, more)
    assert b"/Annots" in data
    assert convert_file(data, ".pdf", 1000).text.split("\n") == ["Form", *said]


WORDS = st.text("abcé日", min_size=1, max_size=8)


@settings(max_examples=20, deadline=None)
@given(WORDS, WORDS)
def test_formulas_and_readings_of_a_page(one: str, two: str) -> None:
    first, second = f"<mi>{one}</mi>", f"<mi>{two}</mi>"
    assert page(f"<math><mfrac>{first}{second}</mfrac></math>") == f"{one}/{two}"
    row = f"<mrow>{first}<mo>+</mo>{second}</mrow>"
    assert page(f"<math><msup>{row}<mn>2</mn></msup></math>") == f"({one}+{two})^2"
    assert page(f"<math><msqrt>{row}</msqrt></math>") == f"√({one}+{two})"
    tex = f"<annotation encoding='application/x-tex'>{one}^2</annotation>"
    shown = "<span class=katex-html>again</span>"
    assert page(f"<math><semantics>{row}{tex}</semantics></math>{shown}") == f"${one}^2$"
    assert page(f"<ruby>{one}<rt>{two}</rt></ruby>") == f"{one}({two})"
    assert page(f"<ruby>{one}<rp>(</rp><rt>{two}</rt><rp>)</rp></ruby>") == f"{one}({two})"


def test_a_frame_in_a_page_is_where_it_leads_or_what_it_says() -> None:
    assert page("a<iframe src='https://x.org/m' title='The map'></iframe>") == (
        "a\n\n[The map](https://x.org/m)"
    )
    assert page("a<iframe srcdoc='<p>Own &lt;b&gt;text&lt;/b&gt;'></iframe>") == "a\n\nOwn text"
    assert page("a<iframe src='about:blank'></iframe><iframe></iframe>") == "a"


def test_notes_heads_and_rows_of_rtf() -> None:
    data = (
        rb"{\rtf1\ansi{\info{\title Leave}}{\header\pard ACME {\b Ltd}\par}Thirty"
        rb"{\super\chftn}{\footnote\pard In \{full\} years.} days.\par "
        rb"\trowd Grade\cell Days\cell\row\trowd A\cell 30\cell\row End.\par}"
    )
    found = rtf_text(data)
    assert found.title == "Leave"
    assert found.text.splitlines()[0] == "ACME Ltd"
    assert "Thirty [In {full} years.] days." in found.text
    assert "Grade | Days\nGrade: A; Days: 30\nEnd." in found.text


@given(st.text("{}\\ab1|\n ", max_size=60))
def test_any_rtf_is_read(inner: str) -> None:
    assert isinstance(rtf_text(rb"{\rtf1{\footnote " + inner.encode() + b"}").text, str)


def test_rows_of_a_table_of_org_know_their_columns() -> None:
    text = "| Variety | Yield |\n|---------+-------|\n" + "| Roma | 12 |\n" * 90
    pieces = chunk(Document("a", text), ChunkSettings(size=40))
    assert {one.metadata.get(TABLE_HEADER) for one in pieces[1:]} == {"Variety | Yield"}
