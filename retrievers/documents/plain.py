"""Text that was written for programs in, the same as people read it out: tables, JSON, subtitles,
calendars and cards, XML.

Each by the ending of its name. Whatever is not of its kind comes out as it is, nearly.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping

from ragwright.retrievers.documents.convert import FileText
from ragwright.retrievers.documents.json_text import JSON, readable
from ragwright.retrievers.documents.tables import lined

_MARKUP = (".xml", ".rss", ".atom", ".svg", ".fb2", ".opml", ".drawio", ".xsd", ".xsl", ".dita")
_TIMES = re.compile(r"\s*((?:\d{1,3}:)?\d{1,2}:\d{2})[.,]\d{1,3}\s*-->\s*[\d:.,]+[^\n]*")
_SPEAKER = re.compile(r"<v(?:\.[\w.]+)?\s+([^>]{1,100})>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|<\d[\d:.]{2,20}>|\{\\an?\d\}")
_FOLDED = re.compile(r"\n[ \t]")
_PICTURE = re.compile(
    r"(?mi)^(?:PHOTO|LOGO|SOUND|KEY|ATTACH)\b[^:\n]*(?:BASE64|;ENCODING=b)[^\n]*\n?"
)
_ESCAPED = re.compile(r"\\([nN,;\\])")
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});")
_KEPT = frozenset("<>&\"'\n\r\t ")


def subtitles(text: str) -> FileText:
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


def unfolded(text: str) -> FileText:
    """Return a calendar or cards (iCalendar, vCard) with whole lines, without pictures."""
    whole = _PICTURE.sub("", _FOLDED.sub("", text))
    return FileText("", _ESCAPED.sub(lambda sign: "\n  " if sign[1] in "nN" else sign[1], whole))


def spelled_out(text: str) -> FileText:
    """Return XML with its letters in place of references to them; what is markup stays so."""
    return FileText("", _REFERENCE.sub(_letter, text))


def _letter(reference: re.Match[str]) -> str:
    letter = html.unescape(reference[0])
    plain = len(letter) == 1 and letter.isprintable() and letter not in _KEPT
    return letter if plain else reference[0]


READERS: Mapping[str, Callable[[str], FileText]] = {
    **dict.fromkeys((".csv", ".tsv"), lambda text: FileText("", lined(text))),
    **dict.fromkeys(JSON, lambda text: FileText("", readable(text))),
    **dict.fromkeys((".srt", ".vtt"), subtitles),
    **dict.fromkeys((".ics", ".vcf"), unfolded),
    **dict.fromkeys(_MARKUP, spelled_out),
}
"""Kinds of text by the endings of their names."""

__all__ = ["READERS"]
