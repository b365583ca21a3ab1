"""The kinds of files, by their suffixes, and by what a file holds where its name says another.

Programs save pages as `.xls` and RTF as `.doc`; mail programs and browsers call office files
`.zip`, which they are. Looks at bytes alone, unpacks nothing.
"""

from __future__ import annotations

import re
import struct

HTML = frozenset({".html", ".htm", ".xhtml", ".xht"})
WORD = frozenset({".docx", ".docm", ".dotx", ".dotm"})
SLIDES = frozenset({".pptx", ".pptm", ".ppsx", ".ppsm", ".potx", ".potm"})
SHEETS = frozenset({".xlsx", ".xlsm", ".xltx", ".xltm"})
PROSE = ".prose.xml"
"""Stands for the ending of XML whose root tells that it holds prose."""
XML = frozenset(
    {".xml", ".fb2", ".rss", ".atom", ".dbk", ".tei", ".docbook", ".nxml", ".enex", ".opml"}
)
FLAT = frozenset({".fodt", ".fods", ".fodp"})
OPEN = FLAT | {".odt", ".ods", ".odp", ".ott", ".ots", ".otp"}
MAIL = frozenset({".eml", ".mht", ".mhtml"})
MARKED_UP = frozenset({".md", ".mdx"})
"""Text that may hold HTML, which is read in the converter's process."""
CONVERTED = {PROSE} | OPEN | MAIL | WORD | SLIDES | SHEETS | {".pdf", ".epub", ".ipynb", ".rtf"}
ALIKE = (WORD, SLIDES, SHEETS, OPEN)
"""Kinds that are read by the same reader."""
ZIPPED = WORD | SLIDES | SHEETS | OPEN - FLAT | {".epub"}
PACKAGES = {
    ".pdf": "pypdfium2", **dict.fromkeys(SHEETS, "openpyxl"), ".rtf": "striprtf",
    ".ipynb": "json", **dict.fromkeys((".epub", PROSE, *OPEN), "bs4"),
    **dict.fromkeys(MAIL, "email"),
}  # fmt: skip
"""What a kind of file needs; all others `markitdown`."""

HEADED = HTML | WORD | SLIDES | {".odt", ".odp", ".fodt", ".ott", ".epub", ".ipynb"}
"""What has its title for its first heading, if for nothing else."""
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s{0,99}(?:<!--.{0,2000}?-->\s{0,99})?<(?:!doctype\s+html|html)\b",
    re.I | re.S,
)
ZIP = b"PK\x03\x04"
_NAME, _NAME_LENGTH = 30, 26
"""Where in the first entry of a zip archive its name begins, and where its length stands."""
_TYPES = b"[Content_Types].xml"
_ENTRY = rb"PK\x01\x02.{42}"
"""What stands before a name in the list of an archive's entries."""
_OFFICE = re.compile(_ENTRY + rb"(word/document|xl/workbook|ppt/presentation)\d*\.xml", re.DOTALL)
_OFFICE_KINDS = {b"word": ".docx", b"xl": ".xlsx", b"ppt": ".pptx"}
_FIRST = re.compile(rb"\[Content_Types\]\.xml|(?:_rels|docProps|customXml|word|xl|ppt)/")
_PARTS = rb"(?:\[Content_Types\]\.xml|mimetype|META-INF/|word/document)"
_MARKS = re.compile(_ENTRY + _PARTS, re.DOTALL)
_SIZES, _END = 12, 22
"""Where at the end of an archive size and place of that list stand, and how long the end is."""
_MIME = re.compile(rb"mimetype(application/[\w.+-]{1,80})")
_MIME_KINDS = {
    b"application/epub+zip": ".epub",
    b"application/vnd.oasis.opendocument.text": ".odt",
    b"application/vnd.oasis.opendocument.spreadsheet": ".ods",
    b"application/vnd.oasis.opendocument.presentation": ".odp",
}


def may_be_office(data: bytes) -> bool:
    """Tell by the first entry of a zip archive whether it may be an office file or a book."""
    length = int.from_bytes(data[_NAME_LENGTH : _NAME_LENGTH + 2], "little")
    name = data[_NAME : _NAME + length]
    return data.startswith(ZIP) and (name == b"mimetype" or _FIRST.match(name) is not None)


def zipped_kind(data: bytes) -> str:
    """Return the suffix of the office file or book that a zip archive is; "" of others."""
    if not may_be_office(data):
        return ""
    if mime := _MIME.match(data, _NAME):
        return _MIME_KINDS.get(mime[1].partition(b"PK")[0], "")
    entries = _entries(data)
    found = _OFFICE.search(entries) if _TYPES in entries else None
    return _OFFICE_KINDS[found[1].partition(b"/")[0]] if found else ""


def is_plain_zip(data: bytes) -> bool:
    """Tell whether bytes are a zip archive that is none of a program's files."""
    entries = _entries(data)
    return data.startswith(ZIP) and entries != b"" and not _MARKS.search(entries)


def _entries(data: bytes) -> bytes:
    """Return the list of an archive's entries as it stands; archives in it have their own."""
    end = data.rfind(b"PK\x05\x06")
    if end < 0 or end + _END > len(data):
        return b""
    size, start = struct.unpack_from("<II", data, end + _SIZES)
    return data[start : start + size]


def kind_by_start(data: bytes) -> str:
    """Return the suffix of what bytes begin as: a page, RTF, PDF; "" of others."""
    if data.startswith(b"{\\rtf1"):
        return ".rtf"
    return ".pdf" if data.startswith(b"%PDF-") else ".html" if _PAGE.match(data) else ""
