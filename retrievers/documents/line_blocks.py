"""Parts of light markup in, lines of Markdown out; rows of tables say their columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ragwright.retrievers.documents.columns import heading_of, row_as_line
from ragwright.retrievers.documents.file_text import FileText

_ITEM = re.compile(r"( *)([*+-]|#\.|\d{1,6}\.) ", re.ASCII)


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


def count_items(lines: Sequence[str], *, loose: bool) -> list[str]:
    """Return lines with the items of lists numbered as people see them.

    Args:
        lines: Items begin with `1.` or `#.`, each; another number is where a list goes on from.
        loose: Whether a list goes on behind empty lines.

    >>> count_items(["1. a", "  1. b", "1. c", "* d", "1. e"], loose=True)
    ['1. a', '  1. b', '2. c', '* d', '1. e']
    """
    made: list[str] = []
    counts: dict[int, int] = {}
    for line in lines:
        item = _ITEM.match(line)
        if item is None:
            ends = _ends_lists(line, loose=loose, apart=made[-1:] == [""])
            counts = {} if ends else counts
            made.append(line)
            continue
        depth, given = len(item[1]), item[2].rstrip(".")
        counts = {at: count for at, count in counts.items() if at <= depth}
        counts[depth] = counts.get(depth, 0) + 1 if given in {"1", "#"} else _whole(given)
        said = f"{item[1]}{counts[depth]}. {line[item.end() :]}"
        made.append(said if counts[depth] else line)
    return made


def _ends_lists(line: str, *, loose: bool, apart: bool) -> bool:
    """Tell whether a line that is no item ends the lists before it; a wrapped one does not."""
    if not line:
        return not loose
    return bool(line[0].strip()) and (apart or not loose)


def _whole(given: str) -> int:
    return int(given) if given.isdecimal() else 0


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


def without_comments(text: str) -> str:
    """Return a text without comments as in HTML; what is never closed stays.

    >>> without_comments("a<!-- b -->c<!-- d")
    'ac<!-- d'
    """
    kept, at = list[str](), 0
    while (start := text.find("<!--", at)) >= 0 and (stop := text.find("-->", start)) >= 0:
        kept.append(text[at:start])
        at = stop + len("-->")
    return "".join([*kept, text[at:]])
