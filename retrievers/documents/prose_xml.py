"""Reads XML that holds prose (DocBook, TEI, JATS, FictionBook, feeds, Evernote) as a page is read.

XML of records that are mostly text is read as these. Other XML is read as it stands: settings and
data say much in their attributes.
"""

from __future__ import annotations

import re
from typing import Any

from ragwright.retrievers.documents.decoding import UndecodableText, decode_text
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.html import html_text, html_to_markdown
from ragwright.retrievers.documents.opening import UnreadableFile
from ragwright.retrievers.documents.plain import READERS
from ragwright.retrievers.documents.record_xml import holds_records, records_text

_ROOT = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s++|<\?[^>]{0,999}\?>|<!--[^>]{0,2000}-->|<!DOCTYPE[^>\[]{0,999}>)*+"
    rb"<(?:[\w.-]{1,60}:)?(?:FictionBook|rss|feed|TEI|TEI\.2|book|article|chapter|refentry|en-export)[\s>]"
)
_RECORDS = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+(?:<\?[^>]{0,999}\?>\s*+)?+<(?:mediawiki|opml|posts|PubmedArticleSet)[\s>]"
)
_HEAD = 100_000
_UNSEEN = ("binary", "encodingDesc", "colspec", "indexterm", "stylesheet", "journal-meta",
           "resource", "note-attributes")  # fmt: skip
_FEED = ("description", "summary", "content", "encoded")
_TAGS = {
    "title": "h2", "subtitle": "h3", "head": "h2", "book-title": "h1", "article-title": "h1",
    "para": "p", "simpara": "p", "p": "p", "l": "p", "v": "p", "ab": "p", "abstract": "div",
    "itemizedlist": "ul", "orderedlist": "ol", "listitem": "li", "list": "ul", "item": "li",
    "list-item": "li", "programlisting": "pre", "screen": "pre", "code": "code", "ulink": "a",
    "lb": "br", "table": "table", "informaltable": "table", "row": "tr", "tr": "tr", "entry": "td",
    "cell": "td", "td": "td", "th": "th", "ul": "ul", "ol": "ol", "li": "li",
}  # fmt: skip
_LINKS = frozenset({"ulink", "link", "ref", "a", "ext-link", "enclosure"})
_ADDRESSES = ("href", "xlink:href", "url", "target")
_IN_A_LINE = frozenset(
    "emphasis hi ref name persName placeName date foreign quote q term guibutton guimenu "
    "command filename literal option link xref superscript subscript sup sub italic bold a "
    "strong style citetitle surname given-names firstname note footnote num orgName abbr".split()
)


def is_prose(data: bytes) -> bool:
    """Tell whether XML is of a kind that holds prose, and declares nothing of its own."""
    head = data[:_HEAD]
    if b"<!ENTITY" in head:
        return False
    return _ROOT.match(head) is not None or _RECORDS.match(head) is not None or holds_records(head)


def prose_text(data: bytes) -> FileText:
    """Return the text of such XML: headings, paragraphs, lists and rows with their columns."""
    from bs4 import BeautifulSoup
    from lxml import etree

    try:
        root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))
    except (etree.XMLSyntaxError, ValueError):  # of which a parser would lose what is behind
        return _as_it_stands(data)
    if not _ROOT.match(data[:_HEAD]):
        return records_text(root)
    soup = BeautifulSoup(data, "lxml-xml")
    for tag in soup(_UNSEEN):
        tag.decompose()
    feed = soup.find(["rss", "feed", "en-export"]) is not None
    for tag in soup(_FEED) if feed else ():
        said = tag.get_text()
        tag.string = html_text(said.encode())[1] if "<" in said else said
    titles = soup(["title", "book-title", "article-title"])
    title = titles[0].get_text(" ", strip=True) if titles else ""
    items = soup(["item", "entry", "note"]) if feed else []
    for tag in items:
        tag.name = "section"
    for tag in soup(True):
        _as_html(tag)
    return FileText(" ".join(title.split()), html_to_markdown(soup))


def _as_it_stands(data: bytes) -> FileText:
    try:
        return READERS[".xml"](decode_text(data, markup=True).text)
    except UndecodableText as error:
        raise UnreadableFile(str(error)) from error


def _as_html(tag: Any) -> None:
    name, said = tag.name.rpartition(":")[2], dict(tag.attrs)
    tag.prefix = None
    tag.attrs = {}
    address = next((said[key] for key in _ADDRESSES if key in said), "")
    if address and name in _LINKS:
        tag.name = "a"
        tag.attrs["href"] = address
        if not tag.get_text(strip=True):
            tag.string = address
        return
    other = "span" if name in _IN_A_LINE else "div"
    tag.name = _TAGS.get(name, other)
    if name in {"note", "footnote"}:
        tag.insert(0, " [")
        tag.append("]")
