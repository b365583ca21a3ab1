"""A Markdown text in, its sections out: where each lies and under which headings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with the text up to the next one, or the text before the first.

    Attributes:
        span: First character and one past the last.
        headings: From the outermost heading to the section's own.
    """

    span: tuple[int, int]
    headings: tuple[str, ...]


def sections(text: str) -> Iterator[Section]:
    """Yield a text's sections, in order and without a gap.

    Headings are those of CommonMark, so a `#` inside a code block is none.
    """
    start, path = 0, list[tuple[int, str]]()
    for at, level, title in _headings(text):
        if at > start:
            yield Section((start, at), tuple(name for _, name in path))
        start = at
        path = [*((above, name) for above, name in path if above < level), (level, title)]
    if start < len(text):
        yield Section((start, len(text)), tuple(name for _, name in path))


def _headings(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (first character, level, title) of every heading that is in no list or quote."""
    from markdown_it import MarkdownIt

    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    tokens = MarkdownIt("commonmark").parse(text)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.map is not None and token.level == 0:
            yield starts[token.map[0]], int(token.tag[1]), inline.content
