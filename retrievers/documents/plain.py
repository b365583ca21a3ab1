"""Writes text that was made for programs as people read it: tables, JSON, subtitles, calendars and
cards, XML, light markup; and leaves out of any text what a terminal or a browser does not show.

Each by the ending of its name. Whatever is not of its kind comes out as it is, nearly.
"""

from __future__ import annotations

import html
import quopri
import re
from collections.abc import Callable, Mapping

from ragwright.retrievers.documents.asciidoc import asciidoc_text
from ragwright.retrievers.documents.chats import chat_text, transcript_text
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.json_text import (
    JSON,
    format_json,
    is_cut_json,
    readable_letters,
    without_numbers,
)
from ragwright.retrievers.documents.latex import bibliography_text, latex_text
from ragwright.retrievers.documents.layout_json import layout_text
from ragwright.retrievers.documents.office_parts import markup
from ragwright.retrievers.documents.opening import UnreadableFile
from ragwright.retrievers.documents.org import org_text
from ragwright.retrievers.documents.rst import rst_text
from ragwright.retrievers.documents.tables import table_as_lines
from ragwright.retrievers.documents.wiki import wiki_text

_MARKUP = (".xml", ".rss", ".atom", ".fb2", ".opml", ".drawio", ".xsd", ".xsl", ".dita")
_TIMES = re.compile(r"\s*((?:\d{1,3}:)?\d{1,2}:\d{2})[.,]\d{1,3}\s*-->\s*[\d:.,]+[^\n]*")
_SPEAKER = re.compile(r"<v(?:\.[\w.]+)?\s+([^>]{1,100})>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|<\d[\d:.]{2,20}>|\{\\an?\d\}")
_FOLDED = re.compile(r"\n[ \t]")
_PICTURE = re.compile(
    r"(?mi)^(?:[\w-]+\.)?(?:PHOTO|LOGO|SOUND|KEY|ATTACH)\b[^:\n]*"
    r"(?:BASE64|;ENCODING=b|:data:)[^\n]*\n?"
)
_QUOTED = re.compile(
    r"(?mi)^([^:\n]{0,200}?);(?:ENCODING=)?QUOTED-PRINTABLE([^:\n]{0,200}):"
    r"((?:[^\n]*=\n)*[^\n]*)"
)
_CHARSET = re.compile(r";CHARSET=([\w-]{1,40})", re.IGNORECASE)
_SIGNAL = re.compile(r"\x1b(?:\[[0-?]{0,60}[ -/]{0,9}[@-~]|\][^\x07\x1b\n]{0,1000}(?:\x07|\x1b\\))")
_DATA = re.compile(
    r"data:[\w/.+-]{0,80}(?:;[\w=.+-]{1,80}){0,4};base64,(?:[A-Za-z0-9+/=_-]|%2[BF]|%3D){100,}"
)
_ESCAPED = re.compile(r"\\([nN,;\\])")
_WORDS_OF_DRAWINGS = ("{*}title", "{*}desc", "{*}text", "{*}foreignObject")
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});")
_KEPT = frozenset("<>&\"'\n\r\t ")


def json_text(text: str) -> FileText:
    """Return JSON as people read it: conversations as such."""
    if said := chat_text(text) or transcript_text(text) or layout_text(text):
        return said
    shown, left = without_numbers(text)
    notes = [f"{left} long lists of numbers in it are not read"] if left else []
    return FileText("", format_json(shown), notes=notes)


def whole_json_text(text: str) -> FileText:
    """Return a file of JSON as people read it.

    Raises:
        UnreadableFile: It ends in the middle: it is still being written, or was cut.
    """
    if is_cut_json(text):
        raise UnreadableFile("it ends in the middle of its JSON")
    return json_text(text)


def subtitles_text(text: str) -> FileText:
    """Return what is said in subtitles (SubRip, WebVTT), and from where on at which time.

    A sentence that goes on in the next one is in one piece; speakers are named.
    """
    made = FileText("", "")
    before = ""
    for block in re.split(r"\n[ \t]*\n", text):
        moment, said = _cue(block)
        line = " ".join(said.split())
        if not moment or not line or line == before:  # some repeat what rolls up
            continue
        before = line
        made.text += "\n" if made.text else ""
        made.places.append((len(made.text), {"moment": moment}))
        made.text += line
    return made if made.text else FileText("", text)


def _cue(block: str) -> tuple[str, str]:
    """Return when a subtitle is shown, and its text; nothing of another block."""
    lines = block.strip("\n").split("\n")
    for number, line in enumerate(lines[:2]):
        if times := _TIMES.fullmatch(line):
            said = _SPEAKER.sub(r"\1: ", "\n".join(lines[number + 1 :]))
            return times[1], html.unescape(_TAG.sub("", said))
    return "", ""


def unfold_calendar(text: str) -> FileText:
    """Return a calendar or cards (iCalendar, vCard) with whole lines, without pictures."""
    whole = _PICTURE.sub("", _FOLDED.sub("", _QUOTED.sub(_unquoted, text)))
    return FileText("", _ESCAPED.sub(lambda sign: "\n  " if sign[1] in "nN" else sign[1], whole))


def _unquoted(line: re.Match[str]) -> str:
    """Return a line of a card of version 2.1 whose letters are written as numbers (=C3=BC)."""
    name = line[1] + line[2]
    told = _CHARSET.search(name)
    raw = quopri.decodestring(line[3].encode("utf-8", "replace"))
    try:
        said = raw.decode(told[1] if told else "utf-8", "replace")
    except LookupError:
        said = raw.decode("utf-8", "replace")
    said = said.replace("\r\n", "\n").replace("\n", "\\n")
    return f"{_CHARSET.sub('', name)}:{said}"


def seen(text: str) -> str:
    """Return a text without colours of a terminal, and without pictures in base64.

    >>> seen("\\x1b[31mERROR\\x1b[0m disk full")
    'ERROR disk full'
    """
    if "\x1b" in text:
        text = _SIGNAL.sub("", text)
    return _DATA.sub("", text) if ";base64," in text else text


def xml_text(text: str) -> FileText:
    """Return XML with its letters in place of references to them; what is markup stays so."""
    return FileText("", _REFERENCE.sub(_letter, text))


def drawing_text(text: str) -> FileText:
    """Return the words in a drawing (SVG), and none of its lines; its title is that of the file."""
    root = markup(text.encode("utf-8", "replace"))
    said = [" ".join("".join(tag.itertext()).split()) for tag in root.iter(*_WORDS_OF_DRAWINGS)]
    title = next((tag for tag in root.iter("{*}title")), None)
    named = "" if title is None else " ".join("".join(title.itertext()).split())
    return FileText(named, "\n".join(dict.fromkeys(filter(None, said))))


def properties_text(text: str) -> FileText:
    """Return settings of Java (`.properties`) with letters in the place of their numbers."""
    return FileText("", readable_letters(text))


def _letter(reference: re.Match[str]) -> str:
    letter = html.unescape(reference[0])
    plain = len(letter) == 1 and letter.isprintable() and letter not in _KEPT
    return letter if plain else reference[0]


_MOST_LIGHT = 5_000_000
"""Characters of a text beyond which no person wrote it; it is read as it stands."""
_LIGHT: Mapping[str, Callable[[str], FileText]] = {
    **dict.fromkeys((".rst", ".rest"), rst_text),
    **dict.fromkeys((".adoc", ".asciidoc"), asciidoc_text),
    ".bib": bibliography_text,
    ".org": org_text,
    **dict.fromkeys((".tex", ".ltx", ".latex"), latex_text),
    **dict.fromkeys((".wiki", ".mediawiki", ".wikitext"), wiki_text),
}


def _bounded(reader: Callable[[str], FileText]) -> Callable[[str], FileText]:
    return lambda text: reader(text) if len(text) <= _MOST_LIGHT else FileText("", text)


LIGHT: Mapping[str, Callable[[str], FileText]] = {
    suffix: _bounded(reader) for suffix, reader in _LIGHT.items()
}

READERS: Mapping[str, Callable[[str], FileText]] = {
    **dict.fromkeys(
        (".csv", ".tsv", ".tab", ".psv", ".xls"), lambda text: FileText("", table_as_lines(text))
    ),
    **dict.fromkeys(JSON, json_text),
    **dict.fromkeys((".json", ".geojson"), whole_json_text),
    **dict.fromkeys((".srt", ".vtt"), subtitles_text),
    **dict.fromkeys((".ics", ".vcf"), unfold_calendar),
    **dict.fromkeys(_MARKUP, xml_text),
    **LIGHT,
    ".svg": drawing_text,
    ".properties": properties_text,
}
"""Kinds of text by the endings of their names."""

__all__ = ["READERS", "seen"]
