"""Reads the HTML within Markdown as the page shows it: rows of tables, pictures' words, no tags.

What stands in code stays as it is, and so does what only looks like a tag: `<your-key>`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ragwright.retrievers.chunking.markdown import block_tokens
from ragwright.retrievers.documents.html import as_subscript, as_superscript, fragment_text

if TYPE_CHECKING:
    from markdown_it.token import Token

MARKDOWN = frozenset({".md", ".markdown", ".mdx", ".qmd", ".rmd"})
COMPONENTS = ".mdx"
_MARKED_UP = re.compile(r"<[A-Za-z/!]|&[#\w]{2,31};|\{[#./*]")
_INLINE = frozenset(
    "a abbr acronym audio b bdi bdo big br button canvas cite code data del dfn em font i img input"
    " ins kbd label mark meter object output picture pre progress q rp rt ruby s samp script"
    " select small span strike strong style sub sup svg textarea time tt u var video wbr".split()
)
"""Tags that may stand within a line; a page shows what is between them."""
_STRUCK = frozenset({"del", "s", "strike"})
_ATTRIBUTES = r"(?:\{(?:[^{}]|\{[^{}]*+\})*+\}|\"[^\"]*+\"|'[^']*+'|[^<>{}\"'])*+"
_NAME = re.compile(r"</?([A-Za-z][\w.]*)")
_SAID = re.compile(r"\b(?:title|label|summary|alt)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_PART = re.compile(
    r"(?P<code>(?<!`)(?P<tick>`{1,9})(?!`)(?s:.{1,2000}?)(?<!`)(?P=tick)(?!`))|(?P<escape>\\[<&{])"
    r"|(?P<raised><(?P<kind>sup|sub)>(?P<said>[^<>]{1,40})</(?P=kind)>)"
    r"|(?P<link><a\s[^<>]{0,300}?href=\"(?P<to>[^\"<>]{1,2000})\"[^<>]{0,300}>"
    r"(?P<words>[^<>]{1,500})</a>)"
    r"|(?P<unseen><!--(?s:.{0,5000}?)-->|\{/\*(?s:.{0,5000}?)\*/\})"
    r"|(?P<letter>&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});)"
    rf"|(?P<break><br\s{{0,9}}/?>[ \t]*\n?)|(?P<tag></?[A-Za-z][\w.]*+(?:\s{_ATTRIBUTES})?/?>)"
)
_KEPT_APART = re.compile(r"(?<!\s)\s*+\{[#.:][^{}\n]{0,200}\}[ \t]*$", re.MULTILINE)
"""What some tools write behind a heading: its place and its looks."""
_IMPORT = re.compile(r"^import\s[^\n]*['\"];?[ \t]*$\n?", re.MULTILINE)
_END = re.compile(r"</table\s*>[^\n]*", re.IGNORECASE)
_ONLY_TAGS = re.compile(
    r"(?:\s*</?(?:div|p|details|center|section|span|a|br|hr|ul|ol|b|i|h[1-6])(?:\s[^<>]{0,300})?>)+\s*",
    re.IGNORECASE,
)
"""What parts of a page begin and end with, and nothing else."""


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


def holds_markup(text: str) -> bool:
    """Tell whether a Markdown text may hold HTML at all."""
    return _MARKED_UP.search(text) is not None


def shown_markdown(text: str, suffix: str = ".md") -> str:
    """Return a Markdown text with what its HTML shows in the place of HTML.

    Args:
        text: The text, without front matter.
        suffix: Of its file; in `.mdx` there are components (`<Card title="Fast">`) as well.

    >>> shown_markdown('<kbd>Ctrl</kbd>, as in `<kbd>`.<br>H<sub>2</sub>O &amp; 10<sup>6</sup>')
    'Ctrl, as in `<kbd>`.\\nH2O & 10⁶'
    """
    components = suffix == COMPONENTS
    kept, at = list[str](), 0
    for edit in _edits(text, block_tokens(text), components):
        if edit.start >= at:
            kept += [text[at : edit.start], edit.text]
            at = edit.end if edit.text or text[edit.end : edit.end + 1] != "\n" else edit.end + 1
    return "".join([*kept, text[at:]])


def _edits(text: str, tokens: list[Token], components: bool) -> Iterator[_Edit]:
    """Yield what becomes of the parts that hold markup, in order."""
    starts = [0, *(found.end() for found in re.finditer("\r\n?|\n", text)), len(text)]
    code = [starts[token.map[0]] for token in tokens if token.type == "fence" and token.map]
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type not in {"html_block", "inline"} or not token.map:
            continue
        start, end = starts[token.map[0]], starts[min(token.map[1], len(starts) - 1)]
        end -= len(text[start:end]) - len(text[start:end].rstrip("\r\n"))
        if token.type == "inline":
            said = _shown_line(text[start:end], components, broken=token.level < 2)
            if before is not None and before.type == "heading_open":
                said = _KEPT_APART.sub("", said)
            yield _Edit(start, end, said)
        elif token.level or not _is_page(token.content):
            if components or _is_page(token.content):
                yield _Edit(start, end, _shown_nested(text[start:end], components))
        else:
            end = _end_of_table(text, token.content, start, end, code)
            yield _Edit(start, end, _shown_block(text[start:end]))


def _shown_block(block: str) -> str:
    """Return a part of a page as it is shown; a comment that is never closed as it stands."""
    if block.startswith("<!--") and "-->" not in block:
        return block
    return "" if _ONLY_TAGS.fullmatch(block) else fragment_text(block)


def _is_page(block: str) -> bool:
    """Tell whether a block of HTML begins with a tag that pages have."""
    found = _NAME.match(block.lstrip())
    return bool(found and _is_known(found[1])) or block.lstrip().startswith("<!--")


def _end_of_table(text: str, block: str, start: int, end: int, code: list[int]) -> int:
    """Return where a block ends; one that a table begins in, at the table's end.

    There are empty lines in the tables of many pages, and each ends a block of HTML.
    """
    lowered = block.lower()
    if lowered.count("<table") <= lowered.count("</table"):
        return end
    found = _END.search(text, end)
    if found is None or any(start < place < found.end() for place in code):
        return end
    return found.end()


def _shown_nested(block: str, components: bool) -> str:
    """Return HTML in an item of a list, or among components, as its lines are shown."""
    margin = block[: len(block) - len(block.lstrip())]
    lines = map(str.strip, _shown_line(block, components, broken=False).split("\n"))
    return "\n".join(margin + line for line in lines if line)


def _is_known(name: str) -> bool:
    from markdown_it.common.html_blocks import block_names

    return name.lower() in _INLINE or name.lower() in block_names


def _shown_line(text: str, components: bool, *, broken: bool) -> str:
    """Return a paragraph, or a heading, as it is shown.

    Args:
        text: The paragraph.
        components: Whether names with a capital are tags too.
        broken: Whether a line may be broken, which a row or an item of a list may not.
    """
    if components:
        text = _IMPORT.sub("", text)
    if not holds_markup(text):
        return text
    broken = broken and "|" not in text
    return _PART.sub(partial(_shown_part, components=components, broken=broken), text)


def _shown_part(part: re.Match[str], *, components: bool, broken: bool) -> str:
    kind, said = part.lastgroup, part[0]
    if kind == "unseen":
        said = "" if components or said.startswith("<") else said
    elif kind == "letter":
        said = html.unescape(said).replace("\N{NO-BREAK SPACE}", " ")
    elif kind == "break":
        said = "\n" if broken else " "
    elif kind == "tag":
        said = _shown_tag(said, components)
    elif kind == "raised":
        said = (as_superscript if part["kind"] == "sup" else as_subscript)(part["said"])
    elif kind == "link":
        said = f"[{part['words']}]({part['to']})"
    return said


def _shown_tag(tag: str, components: bool) -> str:
    found = _NAME.match(tag)
    name = found[1] if found else ""
    if name.lower() in _STRUCK:
        return "~~"
    component = components and name[:1].isupper()
    if not component and not _is_known(name):
        return tag
    said = _SAID.search(tag) if component or name.lower() == "img" else None
    if said:
        return (said[1] or said[2] or "") + (" " if component else "")
    return "" if component or name.lower() in _INLINE else " "
