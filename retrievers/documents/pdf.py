"""Reads the text of a PDF's pages, each known by its number."""

from __future__ import annotations

import ctypes
import re
from typing import Any

from ragwright.retrievers.documents.convert import FileText
from ragwright.retrievers.documents.opening import UnreadableFile

_ODD = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_HYPHEN = re.compile("(.)[\x02\ufffe](?=(.))")
"""Stands for a hyphen at a line's end and the line break."""
_UNTITLED = re.compile(r"\(?(?:untitled|anonymous|unspecified|unknown)\)?", re.IGNORECASE)
_PAGES = 20_000
_ANNOTATIONS = 10_000


def pdf_text(data: bytes) -> FileText:
    """Return the text of a PDF; pages without text are noted.

    Raises:
        Unreadable: It is no PDF, damaged, locked, or holds no text at all.
    """
    import pypdfium2

    if b"%PDF-" not in data[:1024]:
        raise UnreadableFile("it is no .pdf file")
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        reason = "it is locked with a password" if locked else f"it is damaged: {error}"
        raise UnreadableFile(reason) from error
    with document:
        if len(document) > _PAGES:
            raise UnreadableFile(f"it has {len(document):,} pages, more than {_PAGES:,}")
        title = str(document.get_metadata_dict().get("Title") or "").strip()
        title = "" if _UNTITLED.fullmatch(title) else title
        if document.get_formtype():
            document.init_forms()
        made = _joined(title, [_page(document, number) for number in range(len(document))])
        if count := document.count_attachments():
            made.notes.append(f"{count} files that are attached to it are not read")
        return made


def _page(document: object, number: int) -> str:
    """Return the text of a page; a damaged one has none."""
    import pypdfium2

    try:
        page = document[number]  # type: ignore[index]
        remarks = _flattened(page)
        if remarks is not None:
            page = document[number]  # type: ignore[index]
        # What stands in a box, `get_text_bounded`, glues cells of tables and loses characters.
        text = page.get_textpage().get_text_range()
    except pypdfium2.PdfiumError:
        return ""
    text += "".join(f"\n{remark}" for remark in remarks or () if remark not in text)
    text = _HYPHEN.sub(_joined_line, text)
    return _ODD.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _flattened(page: Any) -> list[str] | None:
    """Make what is filled into a form, or written onto a page, a part of it; return its notes.

    The page is closed then, and to be opened anew. Of one without any, None.
    """
    from pypdfium2 import raw

    count = raw.FPDFPage_GetAnnotCount(page)
    if not count:
        return None
    remarks = [_remark(page, at) for at in range(min(count, _ANNOTATIONS))]
    raw.FPDFPage_Flatten(page, 0)
    page.close()
    return [*filter(None, remarks)]


def _remark(page: Any, at: int) -> str:
    """Return what a note on a page says; nothing of a field, a link or the window of a note."""
    from pypdfium2 import raw

    note = raw.FPDFPage_GetAnnot(page, at)
    unsaid = {raw.FPDF_ANNOT_WIDGET, raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP}
    size = 0
    if raw.FPDFAnnot_GetSubtype(note) not in unsaid:
        size = raw.FPDFAnnot_GetStringValue(note, b"Contents", None, 0)
    said = ctypes.create_string_buffer(size)
    if size:
        wide = ctypes.cast(said, ctypes.POINTER(ctypes.c_ushort))
        raw.FPDFAnnot_GetStringValue(note, b"Contents", wide, size)
    raw.FPDFPage_CloseAnnot(note)
    return said.raw.decode("utf-16-le", "replace").strip("\0 \r\n")


def _joined_line(hyphen: re.Match[str]) -> str:
    """Join the halves of a word; the hyphen of a name or a number stays: AB-1234."""
    before, after = hyphen[1], hyphen[2]
    return before if before.isalpha() and after.islower() else f"{before}-"


def _joined(title: str, pages: list[str]) -> FileText:
    empty = [str(number) for number, text in enumerate(pages, start=1) if not text]
    if len(empty) == len(pages):
        raise UnreadableFile(
            f"it holds no text: {len(pages)} pages, of images perhaps (OCR would help)"
        )
    made = FileText(title, "")
    for number, text in enumerate(pages, start=1):
        if text:
            made.text += "\n\n" if made.text else ""
            made.places.append((len(made.text), {"page": number}))
            made.text += text
    if empty:
        shown = ", ".join(empty[:20]) + (", ..." if len(empty) > 20 else "")
        made.notes.append(f"{len(empty)} of {len(pages)} pages hold no text: {shown}")
    return made
