"""Reads a page of HTML: its title, and its text as Markdown."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from ragwright.retrievers.documents.decoding import UndecodableText, decode_text
from ragwright.retrievers.documents.html_tables import tables_as_rows
from ragwright.retrievers.documents.html_unseen import leave_out_unseen
from ragwright.retrievers.documents.list_numbers import number_items, renumber
from ragwright.retrievers.documents.mathml import formula
from ragwright.retrievers.documents.opening import UnreadableFile

_BLOCKS = (
    "main", "nav", "footer", "header", "aside", "form", "option", "button", "address", "fieldset",
    "legend", "details", "summary", "dialog", "figure", "hgroup", "search", "center", "textarea",
    "label", "noframes",
)  # fmt: skip
"""Stand on lines of their own, which the converter does not know."""
_POWER = re.compile(r"[-+\u2212]?[0-9]{1,4}|[0-9]{1,2}(?:,[0-9]{1,2})+")
_FORMULA = re.compile(r"[-+\u2212]?\w{0,3}[-+*/\u2212]\w{1,3}|[ijkmnpqrxy]", re.ASCII)
_RAISED = str.maketrans("0123456789+-\u2212", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
_WIDE_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{7,});?")
_UNTYPED = frozenset({"hidden", "password", "file", "image", "checkbox", "radio", "color", "range"})
_LANGUAGE = re.compile(r"(?:language|lang|highlight(?:-source)?)-([\w+#-]{1,30})")
_NO_LANGUAGE = frozenset({"default", "none", "text", "plaintext", "wrapper"})
_PART_OF_PAGE = re.compile(
    r"\s*<(?:p|div|h[1-6]|ul|ol|table|section|article|blockquote|pre|span|strong|figure)\b", re.I
)
_MOST = {"<": 4000, "<table": 20, "span=": 100}
"""In a row's text, which is read without a process of its own."""
_RAW = re.compile(r"<(script|style)\b", re.IGNORECASE)
_SKIPPED = re.compile(r"<!--|<!\[|<\?|<(?:script|style)\b", re.IGNORECASE)


def html_text(data: bytes, encoding: str = "") -> tuple[str, str]:
    """Return title and text of a page; headings and links become Markdown.

    Args:
        data: Its bytes.
        encoding: Of one that is not UTF-8 and declares none; "" to have it guessed.

    Raises:
        UnreadableFile: It is binary, or its encoding cannot be told.
    """
    try:
        page = decode_text(data, markup=True, told=encoding).text
    except UndecodableText as error:
        raise UnreadableFile(str(error)) from error
    soup = _parsed(page)
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    return title, _shown(soup)


def fragment_text(page: str) -> str:
    """Return the text of a page, or of a part of one, as Markdown."""
    return _shown(_parsed(page))


def shown_if_page(text: str) -> str:
    """Return what a text shows that is a part of a page, as exports of sites hold it; "" of others.

    >>> shown_if_page("<p>Pumps run <b>hot</b> &amp; dry.</p>"), shown_if_page("a < b")
    ('Pumps run **hot** & dry.', '')
    """
    if not (_PART_OF_PAGE.match(text) and text.rstrip().endswith(">") and "</" in text):
        return ""
    if any(text.lower().count(sign) > most for sign, most in _MOST.items()):
        return ""
    try:
        return fragment_text(text)
    except RecursionError:
        return ""


def _parsed(page: str) -> Any:
    from bs4 import BeautifulSoup

    return BeautifulSoup(_plain(page), "lxml")  # closes cells and items that a page leaves open


def _shown(soup: Any) -> str:
    leave_out_unseen(soup)
    _set_apart_terms(soup)
    _spell_out(soup)
    for tag in soup("img", src=re.compile(r"^\s*data:", re.IGNORECASE)):
        tag.replace_with(tag.get("alt") or "")
    for tag in soup("a", href=re.compile(r"^\s*(data|javascript):", re.IGNORECASE)):
        tag.unwrap()
    return html_to_markdown(soup)


def _set_apart_terms(soup: Any) -> None:
    """Put a term of a list behind the one that it is in, as that is not closed."""
    for tag in soup("dt"):
        if tag.parent.name == "dt":
            tag.parent.insert_after(tag.extract())


def _spell_out(soup: Any) -> None:
    """Put text in the place of formulas, of readings beside letters and of what fields hold, links
    in that of frames.
    """
    from bs4 import BeautifulSoup

    for tag in soup(class_="katex-html"):  # says the formula beside it again, for the eye
        tag.decompose()
    for tag in soup("math"):
        tag.replace_with(formula(tag))
    for tag in soup("rt"):
        tag.string = f"({tag.get_text(strip=True)})"
    for tag in soup(["iframe", "frame"]):
        tag.replace_with(_frame(tag, soup))
    for tag in soup("noframes"):
        tag.string = BeautifulSoup(_plain(tag.get_text()), "lxml").get_text(" ", strip=True)
    for tag in soup("input", type="checkbox", disabled=True):  # of a list of tasks
        tag.replace_with("[x] " if tag.has_attr("checked") else "[ ] ")
    for tag in soup("input", value=True):
        said = str(tag.get("type", "text")).lower() not in _UNTYPED
        tag.replace_with(f" {tag['value']} " if said else "")


def _frame(tag: Any, soup: Any) -> Any:
    """Return what stands for another page in a page: its own text, or where it lies."""
    from bs4 import BeautifulSoup

    made = soup.new_tag("div")
    if inner := tag.get("srcdoc"):
        made.string = BeautifulSoup(_plain(inner), "lxml").get_text(" ", strip=True)
    elif re.match(r"\s*(?!data:|javascript:|about:)\S", source := tag.get("src") or "", re.I):
        link = soup.new_tag("a", href=source.strip())
        link.string = tag.get("title") or source.strip()
        made.append(link)
    return made


def html_to_markdown(soup: Any) -> str:
    """Return the text of a parsed page as Markdown; tables become rows."""
    from markdownify import MarkdownConverter

    class Converter(MarkdownConverter):
        def convert_rows(self, tag: Any, text: str, parent_tags: object) -> str:
            return f"\n\n{tag.get_text()}\n\n"

        def convert_li(self, tag: Any, text: str, parent_tags: object) -> str:
            made = super().convert_li(tag, text, parent_tags)  # type: ignore[misc]
            return str(renumber(made, tag))

    for tag in soup(_BLOCKS):
        tag.name = "div"
    for name, write in (("sup", as_superscript), ("sub", as_subscript)):
        for tag in soup(name):
            text = tag.get_text()
            if write(text) != text:
                tag.string = write(text)
    number_items(soup)
    tables_as_rows(soup)
    for tag in soup(["tr", "td", "th"]):  # outside of a table, as in a part of a page
        tag.name = "div"
    # Nobody renders it: what is escaped would be read, and quoted, with its strokes.
    made = Converter(heading_style="ATX", escape_asterisks=False, escape_underscores=False,
                     code_language_callback=_language)  # fmt: skip
    return str(made.convert_soup(soup)).strip()


def as_superscript(text: str) -> str:
    """Return what stands above the line: digits and signs as such characters, so that 10⁶ stays.

    Letters behind a number, as in 5th, and marks such as [1] stay as they are.

    >>> [as_superscript(text) for text in ("6", "-3", "th", "n+1")]
    ['⁶', '⁻³', 'th', '^(n+1)']
    """
    bare = text.strip()
    if _POWER.fullmatch(bare):
        return bare.translate(_RAISED)
    return f"^({bare})" if _FORMULA.fullmatch(bare) else text


def as_subscript(text: str) -> str:
    """Return what stands below the line: it is apart where its sign would join what is above.

    >>> as_subscript("2"), as_subscript("max"), as_subscript("n+1")
    ('2', 'max', '_(n+1)')
    """
    bare = text.strip()
    return f"_({bare})" if _FORMULA.fullmatch(bare) and not bare.isalpha() else text


def _language(code: Any) -> str:
    """Return the language of a block of code, as its class says it: `language-python`."""
    around = islice(code.parents, 2)
    for tag in (code, *code("code", limit=1), *around):
        for name in tag.get("class") or ():
            if (found := _LANGUAGE.fullmatch(name)) and found[1] not in _NO_LANGUAGE:
                return found[1]
    return ""


def _plain(page: str) -> str:
    """Take out, in linear time, what the parser stumbles over: comments, scripts, instructions."""
    kept, at = [], 0
    page = _WIDE_REFERENCE.sub("\N{REPLACEMENT CHARACTER}", page)
    while found := _SKIPPED.search(page, at):
        kept.append(page[at : found.start()])
        raw = None if _closed(page, found.end()) else _RAW.match(found[0])
        mark = f"</{raw[1].lower()}" if raw else "-->" if found[0] == "<!--" else ">"
        end = _end(page, mark, found.end())
        if end < 0:  # as a browser would: it goes on to the end of the page
            return "".join(kept)
        at = end
    kept.append(page[at:])
    return "".join(kept)


def _closed(page: str, at: int) -> bool:
    """Tell whether a tag is closed by itself, as XHTML has it, so that nothing belongs to it."""
    end = page.find(">", at)
    return end > 0 and page[end - 1] == "/"


def _end(page: str, mark: str, start: int) -> int:
    """Return where what begins before `start` ends; -1 if it does not."""
    if not mark.startswith("</"):
        found = page.find(mark, start)
        return found + len(mark) if found >= 0 else -1
    closing = re.compile(re.escape(mark), re.IGNORECASE).search(page, start)
    end = page.find(">", closing.end()) if closing else -1
    return end + 1 if end >= 0 else -1
