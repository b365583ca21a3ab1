"""Converts HTML and office files to Markdown, through libraries made for it.

Runs in a process of its own (`converter.py` starts it): a library that hangs, eats memory or dies
over a file takes nothing else with it. What a library raises is the file's problem.
"""

from __future__ import annotations

import importlib
import io
import re
import zipfile
from collections.abc import Callable, Mapping

from ragwright.retrievers.documents.binary import no_such_file
from ragwright.retrievers.documents.books import book_text
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.html import html_text
from ragwright.retrievers.documents.kinds import (
    ALIKE,
    CONVERTED,
    FLAT,
    HTML,
    MAIL,
    MARKED_UP,
    OPEN,
    PACKAGES,
    PROSE,
    SHEETS,
    SLIDES,
    WORD,
    XML,
    ZIPPED,
    kind_by_start,
    zipped_kind,
)
from ragwright.retrievers.documents.markdown_html import shown_markdown
from ragwright.retrievers.documents.messages import mail_text, notebook_text, rtf_text
from ragwright.retrievers.documents.opendocument import markup_text, opendocument_text
from ragwright.retrievers.documents.opening import UnreadableFile
from ragwright.retrievers.documents.pdf import pdf_text
from ragwright.retrievers.documents.prose_xml import is_prose, prose_text
from ragwright.retrievers.documents.sheets import sheets_text
from ragwright.retrievers.documents.slides import slides_text
from ragwright.retrievers.documents.word import word_text

_READERS: Mapping[str, Callable[[bytes], FileText]] = {
    ".epub": book_text,
    ".ipynb": notebook_text,
    ".pdf": pdf_text,
    ".rtf": rtf_text,
    PROSE: prose_text,
    **dict.fromkeys(MAIL, mail_text),
    **dict.fromkeys(FLAT, markup_text),
    **dict.fromkeys(OPEN - FLAT, opendocument_text),
    **dict.fromkeys(SHEETS, sheets_text),
    **dict.fromkeys(SLIDES, slides_text),
    **dict.fromkeys(WORD, word_text),
}
_ENTRIES = 20_000
_HEAD = 100_000
_ENTITIES = re.compile(rb"<!ENTITY", re.IGNORECASE)
_MARKUP = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx", ".vml")


def suffix_by_content(data: bytes, suffix: str) -> str:
    """Return the suffix of what a file is: of office files, pages, RTF and PDF by what it holds.

    Programs save pages as `.xls` and RTF as `.doc`; a page of the web is called as its address.
    """
    if kind := zipped_kind(data):
        return suffix if any({kind, suffix} <= alike for alike in ALIKE) else kind
    if suffix in CONVERTED - ZIPPED or (suffix in HTML and not data.startswith(b"%PDF-")):
        return suffix
    if suffix in XML:
        return PROSE if is_prose(data) else suffix
    return kind_by_start(data) or suffix


def preload_converter(suffix: str) -> None:
    """Import what converts a kind of file, which takes seconds where the file itself does not."""
    page = ("bs4", "lxml", "markdownify", "chardet")
    for name in (
        page
        if suffix in HTML | OPEN | MAIL | MARKED_UP | {".epub", PROSE}
        else (PACKAGES.get(suffix, "markitdown"),)
    ):
        importlib.import_module(name)


def convert_file(data: bytes, suffix: str, max_unpacked: int, encoding: str = "") -> FileText:
    """Return what a file holds.

    Args:
        data: Its bytes.
        suffix: Of its name, in lower case, with the dot.
        max_unpacked: How many bytes an office file, which is a zip archive, may unpack to.
        encoding: Of a page that is not UTF-8 and declares none.

    Raises:
        UnreadableFile: It is not of its kind, unpacks to more, or is locked.
    """
    if suffix in HTML:
        return FileText(*html_text(data, encoding))
    if suffix in MARKED_UP:
        return FileText("", shown_markdown(data.decode("utf-8", "replace"), suffix))
    if suffix in FLAT and _ENTITIES.search(data[:_HEAD]):
        raise UnreadableFile("it declares entities")
    if suffix in ZIPPED:
        check_archive(data, suffix, max_unpacked)
    return _READERS[suffix](data)


def check_archive(data: bytes, suffix: str, most: int) -> None:
    """Look for bombs before a library unpacks a file; Python unpacks no more than is declared.

    Raises:
        UnreadableFile: It is no zip archive, locked or damaged, or unpacks to more than `most`.
    """
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise UnreadableFile(no_such_file(data, suffix))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if size > most or len(entries) > _ENTRIES:
                raise UnreadableFile(f"it unpacks to {size:,} bytes in {len(entries):,} parts")
            for entry in entries:
                if entry.flag_bits & 1:
                    raise UnreadableFile("it is locked with a password")
                if entry.filename.lower().endswith(_MARKUP) and _declares(archive, entry):
                    raise UnreadableFile(f"its part {entry.filename!r} declares entities")
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError) as error:
        raise UnreadableFile(f"it is damaged: {error}") from error


def _declares(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    with archive.open(entry) as part:
        return _ENTITIES.search(part.read(_HEAD)) is not None
