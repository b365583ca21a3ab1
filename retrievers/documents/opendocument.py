"""Reads an OpenDocument file: paragraphs, lists, links and rows with their columns."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.html import html_to_markdown
from ragwright.retrievers.documents.office_parts import PAGE_NUMBER, markup
from ragwright.retrievers.documents.opening import UnreadableFile

_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_UNSEEN = ("annotation", "tracked-changes", "image", "object")
_TAGS = {"p": "p", "list": "ul", "list-item": "li", "table": "table", "table-row": "tr",
         "table-cell": "td", "line-break": "br", "page": "section", "a": "a"}  # fmt: skip
_SAID = (
    ("rowspan", "table:number-rows-spanned"),
    ("colspan", "table:number-columns-spanned"),
    ("colspan", "table:number-columns-repeated"),
    ("href", "xlink:href"),
)
_VALUES = ("office:string-value", "office:date-value", "office:value", "office:boolean-value")


def opendocument_text(data: bytes) -> FileText:
    """Return the text of an OpenDocument file; the sheets of a workbook are known by their names.

    Raises:
        UnreadableFile: It has no content.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        try:
            content = archive.read("content.xml")
        except KeyError as error:
            raise UnreadableFile("it has no content") from error
        made = markup_text(content)
        there = {*archive.namelist()}
        if not made.title and "meta.xml" in there:
            made.title = _own_title(markup(archive.read("meta.xml")))
        heads = _heads(markup(archive.read("styles.xml"))) if "styles.xml" in there else []
    made.text = "\n\n".join(filter(None, (made.text, *heads)))
    return made


def _own_title(meta: Any) -> str:
    return next((" ".join("".join(tag.itertext()).split()) for tag in meta.iter(_TITLE)), "")


def _heads(styles: Any) -> list[str]:
    """Return what stands at the head and the foot of pages, without numbers of pages."""
    found = [
        " ".join("".join(line.itertext()).split())
        for part in styles.iter("{*}header", "{*}footer", "{*}header-first", "{*}footer-first")
        for line in part.iter("{*}p", "{*}h")
    ]
    return [text for text in dict.fromkeys(found) if text and not PAGE_NUMBER.fullmatch(text)]


def markup_text(content: bytes) -> FileText:
    """Return the text of an OpenDocument file's content, or of one that is nothing else (flat).

    Raises:
        UnreadableFile: It is none.
    """
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(content, "lxml-xml")
    body = soup.find("body")
    if body is None:
        raise UnreadableFile("it has no content")
    comments = len(body("annotation"))
    notes = [f"its {comments} comments are not read"] if comments else []
    soup = BeautifulSoup("", "lxml-xml")
    soup.append(body.extract())
    _prepare(soup)
    sheets = _sheets(soup)
    for tag in soup(True):
        _as_html(tag)
    if not sheets:
        return FileText("", html_to_markdown(soup), notes=notes)
    made = FileText("", "", notes=notes)
    for name, table in sheets:
        page = BeautifulSoup("", "lxml")
        page.append(table.extract())
        if text := html_to_markdown(page):
            made.text += "\n\n" if made.text else ""
            made.places.append((len(made.text), {"sheet": name}))
            made.text += f"## {name}\n\n{text}" if name else text
    return made


def _prepare(soup: Any) -> None:
    """Take out what is not shown, and put notes and readings where they belong."""
    for tag in soup(_UNSEEN) + soup(_is_hidden):
        tag.decompose()
    for tag in soup("ruby-text"):
        tag.string = f"({tag.get_text()})"
    for note in soup("note"):
        _put_behind(note, soup)


def _sheets(soup: Any) -> list[tuple[str, Any]]:
    book = soup.find("spreadsheet")
    tables = book("table", recursive=False) if book is not None else []
    return [(str(table.get("table:name", "")), table) for table in tables]


def _is_hidden(tag: Any) -> bool:
    """Tell whether an element is hidden, as a section, a paragraph or some words may be."""
    if tag.name.rpartition(":")[2] == "p":
        mark = tag.find("hidden-paragraph")
        return mark is not None and mark.get("text:is-hidden") == "true"
    said = {"text:is-hidden": "true", "text:display": "none"}
    return any(tag.get(name) == value for name, value in said.items())


def _put_behind(note: Any, soup: Any) -> None:
    """Put a note behind the paragraph that it stands in, with its number in both places."""
    number, body = note.find("note-citation"), note.find("note-body")
    mark = f"[{number.get_text(strip=True) if number else '*'}]"
    around = note.find_parent(["p", "h"])
    if body is not None and around is not None:
        moved = soup.new_tag("p")
        moved.string = f"{mark} {' '.join(body.get_text(' ').split())}"
        around.insert_after(moved)
    note.replace_with(mark)


def _as_html(tag: Any) -> None:
    attributes, local = dict(tag.attrs), tag.name.rpartition(":")[2]
    tag.prefix, tag.attrs = None, {}
    if local == "h":
        level = str(attributes.get("text:outline-level", "1"))
        tag.name = f"h{level}" if level in {*"123456"} else "h6"
    elif local in {"s", "tab"}:
        tag.name = "span"
        tag.string = " "
    else:
        tag.name = _TAGS.get(local, "div" if local in {"body", "text"} else "span")
    if local == "table-cell" and not tag.get_text(strip=True):
        tag.string = next((attributes[key] for key in _VALUES if key in attributes), "")
    for name, said in _SAID:
        if (told := attributes.get(said)) and told != "1":
            tag.attrs[name] = told
