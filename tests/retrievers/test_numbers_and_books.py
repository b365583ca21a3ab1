"""Numbers that Word computes are text; chapters of a book come in the order of reading."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragwright.retrievers.documents.convert import convert_file
from ragwright.retrievers.documents.opening import UnreadableFile
from ragwright.retrievers.documents.word_numbers import numbered
from tests.retrievers.test_documents import _write_epub
from tests.retrievers.test_office_parts import WORD, changed, word

FORMS = {
    "decimal": ["1", "2", "3", "4"], "decimalZero": ["01", "02", "03", "04"],
    "lowerLetter": ["a", "b", "c", "d"], "upperLetter": ["A", "B", "C", "D"],
    "lowerRoman": ["i", "ii", "iii", "iv"], "upperRoman": ["I", "II", "III", "IV"],
}  # fmt: skip


def level(at: int, form: str, text: str, more: str = "") -> str:
    return (
        f'<w:lvl w:ilvl="{at}"><w:start w:val="1"/><w:numFmt w:val="{form}"/>{more}'
        f'<w:lvlText w:val="{text}"/></w:lvl>'
    )


def lists(*levels: str, more: str = "") -> str:
    return (
        f'<w:numbering xmlns:w="{WORD}"><w:abstractNum w:abstractNumId="0">{"".join(levels)}'
        f'</w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>{more}'
        "</w:numbering>"
    )


def paragraph(text: str, at: int | None, number: int = 1, style: str = "") -> str:
    own = f'<w:numPr><w:ilvl w:val="{at}"/><w:numId w:val="{number}"/></w:numPr>'
    looks = f'<w:pStyle w:val="{style}"/>' if style else ""
    looks += own if at is not None else ""
    return f"<w:p><w:pPr>{looks}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def said(body: str, numbering: str, styles: str = "<none/>") -> list[str]:
    from lxml import etree

    document = f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'.encode()
    made, _ = numbered(document, numbering.encode(), styles.encode())
    return ["".join(tag.itertext("{*}t")) for tag in etree.fromstring(made).iter("{*}p")]


@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_a_list_are_written_out(form: str) -> None:
    body = "".join(paragraph("x", 0) + paragraph("between", None) for _ in range(4))
    found = said(body, lists(level(0, form, "(%1)")))
    assert found == [text for mark in FORMS[form] for text in (f"({mark}) x", "between")]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12))
def test_numbers_of_deeper_levels_begin_anew(depths: list[int]) -> None:
    levels = (level(0, "decimal", "%1"), level(1, "decimal", "%1.%2"),
              level(2, "decimal", "%1.%2.%3"))  # fmt: skip
    counts, wanted = [0, 0, 0], []
    for depth in depths:
        counts[:depth] = [one or 1 for one in counts[:depth]]
        counts[depth:] = [counts[depth] + 1, *[0] * (2 - depth)]
        wanted.append(".".join(map(str, counts[: depth + 1])) + " x")
    assert said("".join(paragraph("x", depth) for depth in depths), lists(*levels)) == wanted


def test_bullets_stay_a_list_may_start_anew_and_a_style_may_number() -> None:
    again = (
        '<w:num w:numId="2"><w:abstractNumId w:val="0"/><w:lvlOverride w:ilvl="0">'
        '<w:startOverride w:val="1"/></w:lvlOverride></w:num>'
    )
    linked = level(1, "bullet", "*")
    numbering = lists(level(0, "decimal", "%1.", '<w:pStyle w:val="H"/>'), linked, more=again)
    styles = (
        f'<w:styles xmlns:w="{WORD}"><w:style w:styleId="H"><w:pPr><w:numPr><w:numId w:val="1"/>'
        "</w:numPr></w:pPr></w:style></w:styles>"
    )
    body = (
        paragraph("a", None, style="H") + paragraph("b", 0) + paragraph("c", 1)
        + paragraph("d", 0, 2) + paragraph("e", 0, 2) + paragraph("f", 0, 0, "H")
    )  # fmt: skip
    assert said(body, numbering, styles) == ["1. a", "2. b", "c", "1. d", "2. e", "f"]


def test_a_numbered_paragraph_of_a_file_is_found_by_its_number(tmp_path: Path) -> None:
    inner = f"</w:p>{paragraph('Liability is capped.', 0)}<w:p>"
    none = f'<w:numbering xmlns:w="{WORD}"/>'
    for numbering in (lists(level(0, "decimal", "§ %1")), none):
        text = word(tmp_path, inner, **{"word/numbering.xml": numbering}).text
        assert "Liability is capped." in text
        assert ("§ 1 Liability is capped." in text) == (numbering != none)


def test_a_book_has_its_chapters_and_says_who_wrote_it(tmp_path: Path) -> None:
    _write_epub(tmp_path / "a.epub", "10<sup>6</sup> birds_fly.</p><p>End.")

    def change(name: str, part: bytes) -> bytes:
        return (
            part.replace(b"</dc:title>", b"</dc:title><dc:creator>Jane Doe</dc:creator>")
            .replace(b"<spine>", b'<spine><itemref idref="x"/><itemref idref="gone"/>'
                     + 3 * b'<itemref idref="x"/>')
            .replace(b"</manifest>", b'<item id="x" href="a%20b/x.xhtml"/>'
                     b'<item id="gone" href="gone.xhtml"/></manifest>')
        )  # fmt: skip

    data = changed((tmp_path / "a.epub").read_bytes(), change, **{"a b/x.xhtml": "<h1>First</h1>"})
    found = convert_file(data, ".epub", 1 << 20)
    assert found.title == "B"
    assert found.text == "Authors: Jane Doe\n\n# First\n\n10⁶ birds_fly.\n\nEnd."
    assert [facts for _, facts in found.places] == [{"chapter": 1}, {"chapter": 3}]
    assert found.notes == ["its chapter 2 (gone.xhtml) is not in it"]


@pytest.mark.parametrize(
    ("method", "locked"),
    [("http://www.w3.org/2001/04/xmlenc#aes256-cbc", True),
     ("http://www.idpf.org/2008/embedding", False)],
)  # fmt: skip
def test_a_locked_book_is_refused(tmp_path: Path, method: str, locked: bool) -> None:
    _write_epub(tmp_path / "a.epub", "Words.")
    told = f'<encryption><e:EncryptionMethod xmlns:e="x" Algorithm="{method}"/></encryption>'
    with zipfile.ZipFile(tmp_path / "a.epub", "a") as archive:
        archive.writestr("META-INF/encryption.xml", told)
    data = (tmp_path / "a.epub").read_bytes()
    if locked:
        with pytest.raises(UnreadableFile, match="locked"):
            convert_file(data, ".epub", 1 << 20)
    else:
        assert convert_file(data, ".epub", 1 << 20).text == "Words."


@pytest.mark.parametrize("part", ["word/document.xml", "word/numbering.xml", "[Content_Types].xml"])
def test_broken_markup_in_a_word_document_is_said(tmp_path: Path, part: str) -> None:
    with pytest.raises(UnreadableFile, match="it cannot be converted"):
        word(tmp_path, "", **{part: "no markup"})


@pytest.mark.parametrize("part", ["xl/workbook.xml", "[Content_Types].xml"])
def test_broken_markup_in_a_workbook_is_said(part: str) -> None:
    import openpyxl

    made = io.BytesIO()
    openpyxl.Workbook().save(made)
    broken = changed(made.getvalue(), lambda _, data: data, **{part: "no markup"})
    with pytest.raises(UnreadableFile, match="it is damaged"):
        convert_file(broken, ".xlsx", 1 << 24)
