"""Converts HTML and office files to Markdown, through libraries made for it.

Runs in a process of its own (`converter.py` starts it): a library that hangs, eats memory or dies
over a file takes nothing else with it. What a library raises is the file's problem.
"""

from __future__ import annotations

import importlib
import io
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ragwright.retrievers.documents.binary import no_such_file
from ragwright.retrievers.documents.kinds import kind_by_start, zipped_kind
from ragwright.retrievers.documents.opening import UnreadableFile

HTML = frozenset({".html", ".htm", ".xhtml", ".xht"})
WORD = frozenset({".docx", ".docm", ".dotx", ".dotm"})
SLIDES = frozenset({".pptx", ".pptm", ".ppsx", ".ppsm", ".potx", ".potm"})
SHEETS = frozenset({".xlsx", ".xlsm", ".xltx", ".xltm"})
PROSE = ".prose.xml"
"""Stands for the ending of XML whose root tells that it holds prose."""
_XML = frozenset(
    {".xml", ".fb2", ".rss", ".atom", ".dbk", ".tei", ".docbook", ".nxml", ".enex", ".opml"}
)
_FLAT = frozenset({".fodt", ".fods", ".fodp"})
OPEN = _FLAT | {".odt", ".ods", ".odp", ".ott", ".ots", ".otp"}
MAIL = frozenset({".eml", ".mht", ".mhtml"})
MARKED_UP = frozenset({".md", ".mdx"})
"""Text that may hold HTML, which is read in the converter's process."""
CONVERTED = {PROSE} | OPEN | MAIL | WORD | SLIDES | SHEETS | {".pdf", ".epub", ".ipynb", ".rtf"}
_ALIKE = (WORD, SLIDES, SHEETS, OPEN)
"""Kinds that are read by the same reader."""
ZIPPED = WORD | SLIDES | SHEETS | OPEN - _FLAT | {".epub"}
PACKAGES = {
    ".pdf": "pypdfium2", **dict.fromkeys(SHEETS, "openpyxl"), ".rtf": "striprtf",
    ".ipynb": "json", **dict.fromkeys((".epub", PROSE, *OPEN), "bs4"),
    **dict.fromkeys(MAIL, "email"),
}  # fmt: skip
"""What a kind of file needs; all others `markitdown`."""

HEADED = HTML | WORD | SLIDES | {".odt", ".odp", ".fodt", ".ott", ".epub", ".ipynb"}
"""What has its title for its first heading, if for nothing else."""
_ENTRIES = 20_000
_HEAD = 100_000
_ENTITIES = re.compile(rb"<!ENTITY", re.IGNORECASE)
_MARKUP = (".xml", ".rels", ".xhtml", ".html", ".htm", ".opf", ".ncx", ".vml")
_EMBEDDED = re.compile(r"!?\[([^\[\]\n]*+)\]\(\s*+data:[^)\[]*+\)")
_BEHIND_ROW = re.compile(r"(?m)^(\|.*\|)([^|\s][^|\n]*|\|[^|\n].*)$")
"""What the converter writes into the last line of a chart: the next shape of the slide."""
_KINDS = "[Content_Types].xml"
_SHOWS = re.compile(rb"presentationml\.(?:slideshow|template)\.main")
_SLIDE = re.compile(r"<!-- Slide number: (\d+) -->")


@dataclass(slots=True)
class FileText:
    """What a file gave.

    Attributes:
        title: Its own; may be empty.
        text: All of it.
        places: From which character on which metadata holds: pages, sheets, slides.
        notes: What is not in the text.
        attached: Files that a mail holds: each its name, and its bytes in base64.
    """

    title: str
    text: str
    places: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    attached: list[tuple[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, told: dict[str, Any]) -> FileText:
        """Build it of what `as_dict` gave, gone through JSON."""
        places = [(int(start), dict(facts)) for start, facts in told["places"]]
        attached = [(str(name), str(data)) for name, data in told["attached"]]
        notes = [*map(str, told["notes"])]
        return cls(str(told["title"]), str(told["text"]), places, notes, attached)


def suffix_by_content(data: bytes, suffix: str) -> str:
    """Return the suffix of what a file is: of office files, pages, RTF and PDF by what it holds.

    Programs save pages as `.xls` and RTF as `.doc`; a page of the web is called as its address.
    """
    if kind := zipped_kind(data):
        return suffix if any({kind, suffix} <= alike for alike in _ALIKE) else kind
    if suffix in CONVERTED - ZIPPED or (suffix in HTML and not data.startswith(b"%PDF-")):
        return suffix
    if suffix in _XML:
        from ragwright.retrievers.documents.prose_xml import is_prose

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
        Unreadable: It is not of its kind, unpacks to more, or is locked.
    """
    if suffix in HTML | MARKED_UP | {PROSE}:
        return _of_markup(data, suffix, encoding)
    if suffix == ".pdf":
        from ragwright.retrievers.documents.pdf import pdf_text

        return pdf_text(data)
    if suffix in MAIL | {".ipynb", ".rtf"}:
        from ragwright.retrievers.documents import messages

        read = messages.notebook_text if suffix == ".ipynb" else messages.rtf_text
        return messages.mail_text(data) if suffix in MAIL else read(data)
    if suffix in _FLAT:
        if _ENTITIES.search(data[:_HEAD]):
            raise UnreadableFile("it declares entities")
        from ragwright.retrievers.documents.opendocument import markup_text

        return markup_text(data)
    check_archive(data, suffix, max_unpacked)
    return _of_archive(data, suffix)


def _of_markup(data: bytes, suffix: str, encoding: str) -> FileText:
    if suffix in HTML:
        from ragwright.retrievers.documents.html import html_text

        return FileText(*html_text(data, encoding))
    if suffix in MARKED_UP:
        from ragwright.retrievers.documents.markdown_html import shown_markdown

        return FileText("", shown_markdown(data.decode("utf-8", "replace"), suffix))
    from ragwright.retrievers.documents.prose_xml import prose_text

    return prose_text(data)


def _of_archive(data: bytes, suffix: str) -> FileText:
    if suffix == ".epub":
        from ragwright.retrievers.documents.books import book_text

        return book_text(data)
    if suffix in OPEN:
        from ragwright.retrievers.documents.opendocument import opendocument_text

        return opendocument_text(data)
    if suffix in SHEETS:
        from ragwright.retrievers.documents.sheets import sheets_text

        return sheets_text(data)
    if suffix in WORD:
        from ragwright.retrievers.documents.word import word_text

        return word_text(data)
    return _slides(data)


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


def _slides(data: bytes) -> FileText:
    data = _as_slides(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converters, about their own insides
        from markitdown import MarkItDown, MarkItDownException, StreamInfo

        try:
            found = MarkItDown(enable_plugins=False).convert_stream(
                io.BytesIO(data), stream_info=StreamInfo(extension=".pptx")
            )
        except MarkItDownException as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[-1][:200]
            raise UnreadableFile(f"it cannot be converted: {reason}") from error
    hidden = _hidden(data)
    text = _EMBEDDED.sub(r"\1", found.markdown)
    made = _by_slide(found.title or "", text, _drawn(data), hidden)
    made.notes += [f"the slide {number} is hidden, and is not read" for number in hidden]
    if number := _comments(data):
        made.notes.append(f"its {number} comments are not read")
    return made


def _as_slides(data: bytes) -> bytes:
    """Return a slide show or a template as the presentation that it is but for its kind."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        kinds = archive.read(_KINDS) if _KINDS in archive.namelist() else b""
        told = _SHOWS.sub(b"presentationml.presentation.main", kinds)
        if told == kinds:
            return data
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as copy:
            for name in archive.namelist():
                copy.writestr(name, told if name == _KINDS else archive.read(name))
    return made.getvalue()


def _comments(data: bytes) -> int:
    from ragwright.retrievers.documents.office_parts import comments_on_slides

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return comments_on_slides(archive)


def _drawn(data: bytes) -> dict[int, list[str]]:
    """Return the words of diagrams, by the number of their slide."""
    from ragwright.retrievers.documents.office_parts import diagrams, slides

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {at: diagrams(archive, part) for at, part in enumerate(slides(archive), start=1)}


def _hidden(data: bytes) -> list[int]:
    """Return the numbers of the slides that are not shown."""
    from ragwright.retrievers.documents.office_parts import is_hidden, slides

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = enumerate(slides(archive), start=1)
        return [at for at, part in parts if is_hidden(archive, part)]


def _by_slide(
    title: str, text: str, drawn: Mapping[int, Sequence[str]], hidden: Sequence[int]
) -> FileText:
    """Turn the converter's comments between slides into places, and add the words of diagrams."""
    parts = _SLIDE.split(text)
    made = FileText(title, parts[0].strip())
    for number, slide in zip(parts[1::2], parts[2::2], strict=True):
        if int(number) in hidden:
            continue
        made.text += "\n\n" if made.text else ""
        made.places.append((len(made.text), {"slide": int(number)}))
        made.text += _BEHIND_ROW.sub(r"\1\n\n\2", slide.strip())
        made.text += "".join(f"\n{line}" for line in drawn.get(int(number), ()))
    return made
