"""Headings of Word documents: by the level of a style, of one it is based on, of a paragraph."""

from __future__ import annotations

import io
import zipfile

import pytest

from ragwright.retrievers.documents.convert import convert_file

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


def style(id: str, name: str, *, base: str = "", level: str = "") -> str:
    based = f'<w:basedOn w:val="{base}"/>' if base else ""
    own = f'<w:pPr><w:outlineLvl w:val="{level}"/></w:pPr>' if level else ""
    head = f'<w:style w:type="paragraph" w:styleId="{id}"><w:name w:val="{name}"/>'
    return f"{head}{based}{own}</w:style>"


def paragraph(text: str, *, of: str = "", level: str = "") -> str:
    named = f'<w:pStyle w:val="{of}"/>' if of else ""
    own = f'<w:outlineLvl w:val="{level}"/>' if level else ""
    return f"<w:p><w:pPr>{named}{own}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def read(styles: str, *paragraphs: str) -> list[str]:
    def links(*targets: tuple[str, str]) -> str:
        each = (
            f'<Relationship Id="r{at}" Type="{OFFICE}/{kind}" Target="{target}"/>'
            for at, (kind, target) in enumerate(targets)
        )
        return f'<Relationships xmlns="{PACKAGE}/relationships">{"".join(each)}</Relationships>'

    override = f'<Override PartName="/word/document.xml" ContentType="{MAIN}"/>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">{override}</Types>',
        "_rels/.rels": links(("officeDocument", "word/document.xml")),
        "word/_rels/document.xml.rels": links(("styles", "styles.xml")),
        "word/styles.xml": f'<w:styles xmlns:w="{WORD}">{styles}</w:styles>',
        "word/document.xml": (
            f'<w:document xmlns:w="{WORD}"><w:body>{"".join(paragraphs)}</w:body></w:document>'
        ),
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return convert_file(made.getvalue(), ".docx", 1 << 20).text.split("\n\n")


@pytest.mark.parametrize("level", range(6))
def test_a_level_makes_a_heading(level: int) -> None:
    styles = (
        style("Own", "Kapitel d'ouverture \\", level=str(level))
        + style("Child", "Child", base="Own")
        + style("Grand", "Grand", base="Child")
        + style("Flat", "Flat", base="Own", level="9")
    )
    said = [
        *(paragraph(name, of=name) for name in ("Own", "Child", "Grand", "Flat")),
        paragraph("Lifted", level=str(level)),
        paragraph("Plain"),
    ]
    marks = "#" * (level + 1)
    headed = [f"{marks} {name}" for name in ("Own", "Child", "Grand")]
    assert read(styles, *said)[:3] == headed
    assert read(styles, *said)[3:5] == ["Flat", f"{marks} Lifted"]
    assert read(styles, *said)[-1] == "Plain"


@pytest.mark.parametrize("level", ["9", "-1", "x", "", "100000000000000000000"])
def test_what_is_no_level_makes_no_heading(level: str) -> None:
    styles = style("Loop", "Loop", base="Loop") + style("Odd", "Odd", level=level or "y")
    said = [paragraph("One", of="Loop"), paragraph("Two", of="Odd"), paragraph("Three", level="z")]
    assert read(styles, *said) == ["One", "Two", "Three"]
