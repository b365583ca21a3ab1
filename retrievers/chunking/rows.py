"""Finds the tables in a Markdown text: where each has its rows, and what names them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

_RULE = re.compile(r"[ \t>]*+\|?[ \t]*+:?-++:?[ \t]*+(?:[|+][ \t]*+:?-++:?[ \t]*+)*+\|?[ \t]*+\r?")
"""As Markdown has it; Org has `+` between columns."""
_CELL = re.compile(r"(?<!\\)\|")
_LONGEST = 400
"""Characters of the names of columns, at most; more is cut at a column."""


@dataclass(frozen=True, slots=True)
class TableSpan:
    """The rows of a table: from the end of its first line, which names the columns, to its end."""

    start: int
    end: int
    columns: str


def markdown_tables(text: str, begun: str = "") -> list[TableSpan]:
    """Return the tables of a text in order, as GitHub's Markdown tells them.

    Args:
        text: A text, or a part of one.
        begun: The names of the columns of the table that the part starts in.
    """
    if "|" not in text:
        return []
    found: list[TableSpan] = []
    at, start, above = 0, 0, ""
    for line in text.splitlines(keepends=True):
        bare = line.rstrip("\r\n")
        if begun and "|" not in bare:
            found.append(TableSpan(start, at, begun))
            begun = ""
        elif not begun and "|" in bare and "|" in above and _RULE.fullmatch(bare):
            start, begun = at, _names(above)
        at, above = at + len(line), bare
    return [*found, TableSpan(start, at, begun)] if begun else found


def table_columns_at(found: Sequence[TableSpan], start: int) -> str:
    """Return the names of the columns of the table that a character stands in; "" of no table."""
    before = bisect_right(found, start, key=lambda table: table.start)
    return found[before - 1].columns if before and start < found[before - 1].end else ""


def _names(line: str) -> str:
    cells = [" ".join(cell.split()) for cell in _CELL.split(line.strip(" \t>"))]
    names = " | ".join(filter(None, cells))
    return names if len(names) <= _LONGEST else names[:_LONGEST].rpartition(" | ")[0]
