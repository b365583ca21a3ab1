"""Tables of a page in, their rows as lines out: each cell with its column's name.

So no row is without its header wherever it is cut. Cells that span rows or columns stand in each
of them. A table in a cell is part of the cell's text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

ROWS = "rows"
"""The tag that a table becomes; its text is to be kept as it is."""

_APART = (
    "br", "p", "div", "li", "ul", "ol", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "pre",
    "blockquote", "section", "article", "hr", "img", ROWS,
)  # fmt: skip
"""What stands apart from what is beside it."""
_MOST_SPANNED = 200
_MOST_CELLS = 200_000
_NUMBER = re.compile(r"[-+]?[\d.,%\s]+")

Cell = tuple[str, bool]
"""A cell's text, and whether it is a heading."""


def tables_as_rows(soup: Any) -> None:
    """Replace every table of a parsed page by its rows, the inner ones first."""
    for table in reversed(soup("table")):
        lines = _lines(_grid(table("tr")))
        caption = table.caption.get_text(" ", strip=True) if table.caption else ""
        made = soup.new_tag(ROWS)
        made.string = "\n".join(filter(None, (caption, *lines)))
        table.replace_with(made)


def is_header(row: Sequence[str]) -> bool:
    """Tell whether a first row names its columns: each once, none by a number."""
    names = [cell for cell in row if cell]
    numbers = sum(map(is_number, names))
    return len(names) > 1 and len(set(names)) == len(names) and not numbers


def is_number(cell: str) -> bool:
    return _NUMBER.fullmatch(cell) is not None


def as_line(row: Sequence[str], header: Sequence[str], joint: str = "; ") -> str:
    """Return a row as a line, each cell with its column's name where it has one."""
    named = [(header[at] if at < len(header) else "", cell) for at, cell in enumerate(row)]
    return joint.join(f"{name}: {cell}" if name else cell for name, cell in named if cell)


def _grid(rows: Any) -> list[list[Cell]]:
    """Return the cells by row and column, those that span several in each of them."""
    grid: list[list[Cell]] = []
    hanging: dict[int, tuple[int, Cell]] = {}
    made = 0
    for row in rows:
        cells: list[Cell] = []
        for tag in row(["td", "th"]):
            _hang(cells, hanging)
            cell = _text(tag), tag.name == "th"
            deep = _span(tag, "rowspan")
            for _ in range(_span(tag, "colspan") if made < _MOST_CELLS else 1):
                if deep > 1:
                    hanging[len(cells)] = deep - 1, cell
                cells.append(cell)
        _hang(cells, hanging)
        made += len(cells)
        grid.append(cells)
    return grid


def _text(cell: Any) -> str:
    """Return what a cell says on one line; what only looks different in it is not parted."""
    for tag in cell(_APART):
        tag.insert_before(" ")
        tag.insert_after(" ")
    return " ".join(cell.get_text().split())


def _hang(cells: list[Cell], hanging: dict[int, tuple[int, Cell]]) -> None:
    """Add what hangs down from the rows above into the next columns."""
    while len(cells) in hanging:
        left, cell = hanging.pop(len(cells))
        if left > 1:
            hanging[len(cells)] = left - 1, cell
        cells.append(cell)


def _span(tag: Any, name: str) -> int:
    said = str(tag.get(name, ""))
    return min(int(said), _MOST_SPANNED) if said.isascii() and said.isdigit() and said != "0" else 1


def _lines(grid: list[list[Cell]]) -> list[str]:
    grid = [row for row in grid if any(text for text, _ in row)]
    tops = list(takewhile(lambda row: len(row) > 1 and all(head for _, head in row), grid))
    rows = [[text for text, _ in row] for row in grid]
    if not tops and len(rows) > 1 and _is_list(grid):
        return [f"{name}: {' '.join(values)}" for name, *values in rows]
    above = len(tops) if len(tops) < len(rows) else 0
    if (
        not above
        and len(rows) > 1
        and is_header(rows[0])
        and not any(h for r in grid for _, h in r)
    ):
        above = 1
    header = _names(rows[:above])
    named = [" | ".join(filter(None, header))] if above else []
    return named + [
        as_line(row, header) if above else " | ".join(filter(None, _once(row)))
        for row in rows[above:]
    ]


def _is_list(grid: list[list[Cell]]) -> bool:
    """Tell whether each row has its own heading first and one value."""
    return all(len(row) == 2 and row[0][1] and not row[1][1] for row in grid)


def _names(rows: list[list[str]]) -> list[str]:
    """Return a name for each column, from several rows of headings those above each other."""
    width = max(map(len, rows), default=0)
    columns = [[row[at] for row in rows if at < len(row)] for at in range(width)]
    return [" ".join(dict.fromkeys(filter(None, column))) for column in columns]


def _once(row: list[str]) -> list[str]:
    """Leave out what a cell repeats that spans columns without names."""
    return [cell for at, cell in enumerate(row) if at == 0 or cell != row[at - 1]]
