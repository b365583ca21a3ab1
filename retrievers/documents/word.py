"""Reads a Word document as Markdown: by way of a page of HTML, which it is converted to first.

An equation becomes LaTeX; one that cannot be converted is its plain letters, and the others stay.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from typing import Any
from xml.parsers.expat import ExpatError

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.html import html_to_markdown
from ragwright.retrievers.documents.office_parts import charts, count, diagrams, headers
from ragwright.retrievers.documents.opening import UnreadableFile
from ragwright.retrievers.documents.word_headings import LIFTED, heading_styles, lifted_headings
from ragwright.retrievers.documents.word_numbers import numbered

_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_EQUATION, _PARAGRAPH = f"{_MATH}oMath", f"{_MATH}oMathPara"
_WORDS = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_WITH_PROPERTIES = tuple(
    _MATH + name
    for name in ("f", "acc", "bar", "d", "groupChr", "nary", "rad", "func", "m", "eqArr")
)
_WRAPPED = tuple(f"{_WORDS}{name}" for name in ("fldSimple", "customXml", "moveTo", "dir", "bdo"))
"""What stands around words that are to be read, and is unknown to the converter."""
_SHAPES = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_CHANGED = (
    b"oMath",
    b"fldSimple",
    b"customXml",
    b"moveTo",
    b"w:dir",
    b"w:bdo",
    b"AlternateContent",
    b"w:vanish",
    b"w:ruby",
    b"showingPlcHdr",
)
_OFF = frozenset({"0", "false", "off"})
_NOTE = re.compile(r"#(?:foot|end)note-(?:ref-)?\d+")
_TITLES = "p[style-name='Title'] => h1:fresh"
_STYLES = "word/styles.xml"
_WITH_EQUATIONS = frozenset({"word/document.xml", "word/footnotes.xml", "word/endnotes.xml"})


def word_text(data: bytes) -> FileText:
    """Return the text of a Word document, whose tables are those of a page.

    Raises:
        UnreadableFile: It is none, or damaged.
    """
    from bs4 import BeautifulSoup
    from mammoth import convert_to_html, images
    from markitdown.converter_utils.docx.pre_process import pre_process_docx

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            page = convert_to_html(
                pre_process_docx(io.BytesIO(_with_equations(data))),
                style_map="\n".join([_TITLES, *LIFTED, *_own_headings(data)]),
                convert_image=images.img_element(lambda _: {"src": ""}),
            )
    except (KeyError, ValueError, AttributeError, zipfile.BadZipFile, OSError, ExpatError) as error:
        raise UnreadableFile(f"it cannot be converted: {error or type(error).__name__}") from error
    soup = BeautifulSoup(page.value, "lxml")
    for tag in soup("img"):
        tag.replace_with(tag.get("alt") or "")
    for tag in soup("input", type="checkbox"):
        tag.replace_with("\u2612" if tag.has_attr("checked") else "\u2610")
    for tag in soup("a", href=_NOTE):  # marks of notes, and the arrows back
        tag.replace_with("" if tag.get_text() == "\u2191" else tag.get_text())
    return _with_the_rest(html_to_markdown(soup), data)


def _own_headings(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        there = _STYLES in archive.namelist()
        return heading_styles(archive.read(_STYLES)) if there else []


def _with_the_rest(text: str, data: bytes) -> FileText:
    """Return a text with what the converter leaves out behind it, or said to be left out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        main = "word/document.xml"
        more = [*diagrams(archive, main), *charts(archive, main), *headers(archive)]
        comments = count(archive, "word/comments.xml", "comment")
    notes = [f"its {comments} comments are not read"] if comments else []
    return FileText("", "\n\n".join(filter(None, (text, *more))), notes=notes)


def _with_equations(data: bytes) -> bytes:
    """Return a document whose equations and numbers are text, and whose fields and boxes are where
    they stand; the same bytes if it has none.

    The converter leaves out all equations of a document of which one is not as it expects.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in _WITH_EQUATIONS & {*archive.namelist()}}
        told = {
            name: _told(part)
            for name, part in parts.items()
            if any(map(part.__contains__, _CHANGED))
        }
        told |= _with_numbers({**parts, **told}, archive)
        told |= lifted_headings({**parts, **told})  # last: numbers go by the styles
        if not told:
            return data
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as copy:
            for name in archive.namelist():
                copy.writestr(name, told.get(name) or archive.read(name))
    return made.getvalue()


def _with_numbers(parts: dict[str, bytes], archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Return the parts that change where the numbers of paragraphs become text."""
    document, lists = "word/document.xml", "word/numbering.xml"
    there = {*archive.namelist()}
    looks = archive.read(_STYLES) if _STYLES in there else b"<none/>"
    if not {document, lists} <= there or b"numPr" not in parts[document] + looks:
        return {}
    made, left = numbered(parts[document], archive.read(lists), looks)
    return {document: made, lists: left}


def _told(part: bytes) -> bytes:
    from lxml import etree

    root = etree.fromstring(part, etree.XMLParser(resolve_entities=False, recover=True))
    if root is None:
        return part
    _leave_out_hidden(root)
    _unwrap(root)
    found = [*root.iter(_PARAGRAPH), *root.iter(_EQUATION)]
    for place in found:
        above = place.getparent()
        if above is None or next(place.iterancestors(_PARAGRAPH, _EQUATION), None) is not None:
            continue
        mark = "$$" if place.tag == _PARAGRAPH else "$"
        run = etree.Element(f"{_WORDS}r")
        text = etree.SubElement(run, f"{_WORDS}t")
        text.text = " ".join(f"{mark}{_latex(one)}{mark}" for one in place.iter(_EQUATION))
        above.replace(place, run)
    return bytes(etree.tostring(root, encoding="UTF-8"))


def _leave_out_hidden(root: Any) -> None:
    """Take out text that is hidden, and what only asks to enter a text."""
    for tag in [*root.iter(f"{_WORDS}vanish")]:
        run = tag.getparent().getparent()
        if tag.get(f"{_WORDS}val", "1") not in _OFF and run.tag == f"{_WORDS}r":
            _remove(run)
    for tag in [*root.iter(f"{_WORDS}showingPlcHdr")]:
        _remove(tag.getparent().getparent())


def _remove(tag: Any) -> None:
    if tag.getparent() is not None:
        tag.getparent().remove(tag)


def _unwrap(root: Any) -> None:
    """Put words in the place of what is around them, and the text of a box in that of its shape."""
    from lxml import etree

    for tag in [*root.iter(f"{_SHAPES}AlternateContent")]:
        texts = [*tag.iter(f"{_WORDS}txbxContent")]
        if texts and tag.find(f"{_SHAPES}Fallback") is None:
            box = etree.Element(f"{_WORDS}pict")
            box.extend(texts)
            box.tail = tag.tail
            tag.getparent().replace(tag, box)
    for tag in [*root.iter(f"{_WORDS}ruby")]:
        said = etree.Element(f"{_WORDS}t")
        reading, base = _words(tag, "rt"), _words(tag, "rubyBase")
        said.text = f"{base}({reading})" if reading else base
        tag.getparent().replace(tag, said)
    for tag in [*root.iter(*_WRAPPED)]:
        above = tag.getparent()
        at = above.index(tag)
        above[at : at + 1] = [*tag]


def _words(tag: Any, name: str) -> str:
    return "".join(text for part in tag.iter(_WORDS + name) for text in part.itertext(f"{_WORDS}t"))


def _latex(equation: Any) -> str:
    from lxml import etree
    from markitdown.converter_utils.docx.math.omml import oMath2Latex

    for one in equation.iter(*_WITH_PROPERTIES):
        if one.find(f"{one.tag}Pr") is None:  # which may be left out, and the converter wants
            one.insert(0, etree.Element(f"{one.tag}Pr"))
    try:
        return str(oMath2Latex(equation).latex).strip()
    except (LookupError, ValueError, AttributeError, TypeError, NotImplementedError):
        return " ".join(equation.itertext(f"{_MATH}t"))
