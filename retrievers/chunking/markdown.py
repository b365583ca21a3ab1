"""Finds the sections of a Markdown text: where each lies and under which headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token

_LINE_END = re.compile(r"\r\n?|\n")
_MARKED = re.compile(r"(?:\A|[\r\n]) {0,3}(?:#{1,2}[ \t]|=+|-+)")
_BEGINNING = 50_000
_LONGEST = 300
"""Characters of a heading, at most: every chunk below it repeats it."""


@dataclass(frozen=True, slots=True)
class MarkdownSection:
    """A heading with the text up to the next one, or the text before the first.

    Attributes:
        span: First character and one past the last.
        headings: From the outermost heading to the section's own.
    """

    span: tuple[int, int]
    headings: tuple[str, ...]


def markdown_sections(text: str) -> Iterator[MarkdownSection]:
    """Yield a text's sections, in order and without a gap.

    Headings are those of CommonMark, so a `#` inside a code block is none.
    """
    start, path = 0, list[tuple[int, str]]()
    for at, level, title in _headings(text):
        if at > start:
            yield MarkdownSection((start, at), tuple(name for _, name in path))
        start = at
        path = [*((above, name) for above, name in path if above < level), (level, title)]
    if start < len(text):
        yield MarkdownSection((start, len(text)), tuple(name for _, name in path))


def first_heading(text: str) -> str:
    """Return the first heading of level 1 or 2, or "": what a text without a title is called."""
    if not _MARKED.search(text):
        return ""
    found = (title for _, level, title in _headings(text[:_BEGINNING]) if level <= 2)
    return next(found, "")


def block_tokens(text: str) -> list[Token]:
    """Return the blocks of a Markdown text: where headings, paragraphs, HTML and code lie.

    What stands within their lines is not looked into, which takes most of the time, and ten
    microseconds for each of some signs.
    """
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").disable(["inline", "text_join"]).parse(text)


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in _LINE_END.finditer(text))]


def _headings(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (first character, level, title) of every heading that is in no list or quote."""
    starts = _line_starts(text)
    for token, inline in pairwise(block_tokens(text)):
        if token.type == "heading_open" and token.map is not None and token.level == 0:
            yield starts[token.map[0]], int(token.tag[1]), inline.content[:_LONGEST]
