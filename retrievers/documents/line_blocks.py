"""Parts of light markup in, lines of Markdown out; rows of tables say their columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ragwright.retrievers.documents.columns import heading_of, row_as_line
from ragwright.retrievers.documents.convert import FileText


def rows_as_lines(rows: Sequence[Sequence[str]], headed: int, caption: str = "") -> list[str]:
    """Return a line a row, each cell with its column's name, between empty lines.

    Args:
        rows: The cells of each row.
        headed: How many rows at the top name the columns; 0 to tell it by what they look like.
        caption: What stands above.

    >>> rows_as_lines([["Region", "Sales"], ["North", "12"]], 1)
    ['', 'Region | Sales', 'Region: North; Sales: 12', '']
    """
    before = 0
    if headed:
        width = max(map(len, rows), default=0)
        above = [[row[at] for row in rows[:headed] if at < len(row)] for at in range(width)]
        names = [" ".join(dict.fromkeys(filter(None, column))) for column in above]
    else:
        before, headed, names = heading_of(rows)
    said = [*rows[:before], names] if headed else [*rows[:before]]
    lines = [
        caption,
        *(" | ".join(filter(None, row)) for row in said),
        *(row_as_line(row, names, "; " if headed else " | ") for row in rows[before + headed :]),
    ]
    return ["", *filter(None, lines), ""]


def fenced(lines: Sequence[str], language: str = "") -> list[str]:
    """Return code between fences that do not occur in it, as one text between empty ones.

    What all of it is indented by is left out.
    """
    kept = [*lines]
    while kept and not kept[-1].strip():
        kept.pop()
    while kept and not kept[0].strip():
        kept.pop(0)
    depth = min((len(line) - len(line.lstrip()) for line in kept if line.strip()), default=0)
    mark = "````" if any("```" in line for line in kept) else "```"
    code = "\n".join([mark + language, *(line[depth:] for line in kept), mark])
    return ["", code, ""] if kept else []


def join_lines(made: Sequence[str], title: str = "") -> FileText:
    """Return lines as a text, of several empty ones one; its title is the first heading."""
    kept: list[str] = []
    for line in made:
        if line or kept[-1:] != [""]:
            kept.append(line)
    first = next((line.lstrip("# ") for line in kept if re.match("#{1,6} ", line)), "")
    return FileText(title or first, "\n".join(kept).strip() + "\n")


def first_line(lines: Sequence[str], at: int, wanted: Callable[[str], object]) -> int:
    """Return the number of the first line from `at` on that is wanted; that of the end if none."""
    return next((number for number in range(at, len(lines)) if wanted(lines[number])), len(lines))


def without_parts(text: str, begin: str, end: str) -> str:
    """Return a text without what stands between two marks; what is never closed stays.

    >>> without_parts("a<!-- b -->c<!-- d", "<!--", "-->")
    'ac<!-- d'
    """
    kept, at = list[str](), 0
    while (start := text.find(begin, at)) >= 0 and (stop := text.find(end, start)) >= 0:
        kept.append(text[at:start])
        at = stop + len(end)
    return "".join([*kept, text[at:]])
