"""A Word document in, its text out as Markdown: as a page of HTML, which it is converted to first.

An equation becomes LaTeX; one that cannot be converted is its plain letters, and the others stay.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

from ragwright.retrievers.documents.convert import FileText
from ragwright.retrievers.documents.opening import UnreadableFile

_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_EQUATION, _PARAGRAPH = f"{_MATH}oMath", f"{_MATH}oMathPara"
_WORDS = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_WITH_PROPERTIES = tuple(
    _MATH + name
    for name in ("f", "acc", "bar", "d", "groupChr", "nary", "rad", "func", "m", "eqArr")
)
_WITH_EQUATIONS = frozenset({"word/document.xml", "word/footnotes.xml", "word/endnotes.xml"})


def word_text(data: bytes) -> FileText:
    """Return the text of a Word document, whose tables are those of a page.

    Raises:
        Unreadable: It is none, or damaged.
    """
    from bs4 import BeautifulSoup
    from mammoth import convert_to_html, images
    from markitdown.converter_utils.docx.pre_process import pre_process_docx

    from ragwright.retrievers.documents.html import markdown_of

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            page = convert_to_html(
                pre_process_docx(io.BytesIO(_with_equations(data))),
                convert_image=images.img_element(lambda _: {"src": ""}),
            )
    except (KeyError, ValueError, AttributeError, zipfile.BadZipFile, OSError) as error:
        raise UnreadableFile(f"it cannot be converted: {error or type(error).__name__}") from error
    soup = BeautifulSoup(page.value, "lxml")
    for tag in soup("img"):
        tag.replace_with(tag.get("alt") or "")
    return FileText("", markdown_of(soup))


def _with_equations(data: bytes) -> bytes:
    """Return a document whose equations are text; the same bytes if it has none.

    The converter leaves out all equations of a document of which one is not as it expects.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in _WITH_EQUATIONS & {*archive.namelist()}}
        told = {name: _told(part) for name, part in parts.items() if b"oMath" in part}
        if not told:
            return data
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as copy:
            for name in archive.namelist():
                copy.writestr(name, told.get(name) or archive.read(name))
    return made.getvalue()


def _told(part: bytes) -> bytes:
    from lxml import etree

    root = etree.fromstring(part, etree.XMLParser(resolve_entities=False, recover=True))
    found = [*root.iter(_PARAGRAPH), *root.iter(_EQUATION)] if root is not None else []
    for place in found:
        above = place.getparent()
        if above is None or next(place.iterancestors(_PARAGRAPH, _EQUATION), None) is not None:
            continue
        mark = "$$" if place.tag == _PARAGRAPH else "$"
        run = etree.Element(f"{_WORDS}r")
        text = etree.SubElement(run, f"{_WORDS}t")
        text.text = " ".join(f"{mark}{_latex(one)}{mark}" for one in place.iter(_EQUATION))
        above.replace(place, run)
    return bytes(etree.tostring(root, encoding="UTF-8")) if found else part


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
