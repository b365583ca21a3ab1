"""Reads the text of a PDF's pages, each known by its number."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from typing import Any

from ragwright.retrievers.documents.binary import no_such_file
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.opening import UnreadableFile

_ODD = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_HYPHEN = re.compile("(.)[\x02\ufffe](?=(.))")
"""Stands for a hyphen at a line's end and the line break."""
_UNTITLED = re.compile(r"\(?(?:untitled|anonymous|unspecified|unknown)\)?", re.IGNORECASE)
_PROGRAM = re.compile(r"\AMicrosoft (?:Office )?(?:Word|PowerPoint|Excel|Visio) - ", re.IGNORECASE)
_FILE = re.compile(
    r"\.(?:docx?|html?|pptx?|xlsx?|tex|dvi|od[tps]|indd|qxd|pdf|rtf|txt|md)\Z", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<!\d)\d{1,5}(?!\d)")
_NUMBERS = re.compile(
    r"[\W\d]*\d[\W\d]*|(?:.{0,200}\W)?"
    r"(?:page|seite|p[aá]gina|pagina|side|sida|sivu|strona|стр|страница)\b.{0,200}",
    re.IGNORECASE,
)
"""What numbers pages: a number alone, or one beside such a word."""
_LONGEST_NUMBER = 500
_EDGES = (1, 0, -2, -1)
"""Lines of a page that may number it."""
_FEWEST_NUMBERED = 3
_PAGES = 20_000
_ANNOTATIONS = 10_000


def pdf_text(data: bytes) -> FileText:
    """Return the text of a PDF; pages without text are noted.

    Raises:
        UnreadableFile: It is no PDF, damaged, locked, or holds no text at all.
    """
    import pypdfium2

    if b"%PDF-" not in data[:1024]:
        raise UnreadableFile(no_such_file(data, ".pdf"))
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        reason = "it is locked with a password" if locked else f"it is damaged: {error}"
        raise UnreadableFile(reason) from error
    with document:
        if len(document) > _PAGES:
            raise UnreadableFile(f"it has {len(document):,} pages, more than {_PAGES:,}")
        title = _title(str(document.get_metadata_dict().get("Title") or ""))
        if document.get_formtype():
            document.init_forms()
        made = _joined(title, [_page(document, number) for number in range(len(document))])
        if count := document.count_attachments():
            made.notes.append(f"{count} files that are attached to it are not read")
        return made


def _title(said: str) -> str:
    """Return a title without what a program that printed the file has added.

    >>> _title("Microsoft Word - Report final.docx"), _title("untitled")
    ('Report final', '')
    """
    title = _FILE.sub("", _PROGRAM.sub("", said.strip())).strip()
    return "" if _UNTITLED.fullmatch(title) else title


def without_page_numbers(pages: list[str]) -> list[str]:
    """Return pages without the lines at their heads and feet that number them: "Page 3 of 9"."""
    for edge in _EDGES:
        seen = [_numbered(_line(page, edge), at) for at, page in enumerate(pages)]
        common = Counter(one for found in seen for one in found).most_common(1)
        if not common or common[0][1] < max(_FEWEST_NUMBERED, len(pages) / 2):
            continue
        pages = [
            _without_line(page, edge) if common[0][0] in found else page
            for page, found in zip(pages, seen, strict=True)
        ]
    return pages


def _line(page: str, edge: int) -> str:
    lines = page.split("\n")
    return lines[edge] if -len(lines) <= edge < len(lines) else ""


def _numbered(line: str, at: int) -> set[tuple[str, int]]:
    """Return a line with each of its numbers masked, and how far that is from the page's own.

    Nothing of a line that does not number a page: "Lesson 3" may be what the page says.
    """
    if len(line) > _LONGEST_NUMBER or not _NUMBERS.fullmatch(line):
        return set()
    return {
        (f"{line[: found.start()]}#{line[found.end() :]}", int(found[0]) - at)
        for found in _NUMBER.finditer(line[:200])
    }


def _without_line(page: str, edge: int) -> str:
    lines = page.split("\n")
    del lines[edge]
    return "\n".join(lines).strip()


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
    for number, text in enumerate(without_page_numbers(pages), start=1):
        if text:
            made.text += "\n\n" if made.text else ""
            made.places.append((len(made.text), {"page": number}))
            made.text += text
    if empty:
        shown = ", ".join(empty[:20]) + (", ..." if len(empty) > 20 else "")
        made.notes.append(f"{len(empty)} of {len(pages)} pages hold no text: {shown}")
    return made
