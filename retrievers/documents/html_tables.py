"""Writes the rows of a page's tables as lines: each cell with its column's name.

So no row is without its header wherever it is cut. Cells that span rows or columns stand in each
of them. A table in a cell is part of the cell's text.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from ragwright.retrievers.documents.columns import heading_of, row_as_line

ROWS = "rows"
"""The tag that a table becomes; its text is to be kept as it is."""

_APART = (
    "br", "p", "div", "li", "ul", "ol", "dl", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "pre",
    "blockquote", "section", "article", "hr", "img", ROWS,
)  # fmt: skip
"""What stands apart from what is beside it."""
_FEW = 60
"""Characters of a table in a cell that belong to the cell, whatever else is in it."""
_MOST_SPANNED = 200
_MOST_CELLS = 200_000
_BLOCKS = ["p", "h1", "h2", "h3", "h4", "li", "pre", ROWS]

Cell = tuple[str, bool]
"""A cell's text, and whether it is a heading."""


_ROLES = {
    "table": "table", "grid": "table", "treegrid": "table", "row": "tr", "cell": "td",
    "gridcell": "td", "columnheader": "th", "rowheader": "th",
}  # fmt: skip
"""What stands for the tags of a table where a page makes one of other tags."""
_PARTS = frozenset({*_ROLES.values(), "tbody", "thead", "tfoot"})


def tables_as_rows(soup: Any) -> None:
    """Replace every table of a parsed page by its rows, the inner ones first.

    One that only places things, among them tables, is what it places.
    """
    for tag in soup(attrs={"role": list(_ROLES)}):
        if tag.name not in _PARTS:
            tag.name = _ROLES[tag["role"]]
    for table in reversed(soup("table")):
        if _only_places(table):
            for part in table(["tr", "td", "tbody", "thead", "tfoot"]):
                part.name = "div"
            table.name = "div"
            continue
        for inner in table(ROWS):
            if len(said := inner.get_text().splitlines()) > 1:
                inner.string = f"({'; '.join(said)})"
        lines = _lines(_grid(table("tr")))
        caption = table.caption.get_text(" ", strip=True) if table.caption else ""
        made = soup.new_tag(ROWS)
        made.string = "\n".join(filter(None, (caption, *lines)))
        table.replace_with(made)


def _only_places(table: Any) -> bool:
    """Tell whether a table is for the looks: most of it is in tables, or in blocks of one cell."""
    if table.find(["th", "caption"]):
        return False
    inner = table(ROWS)
    if inner:
        within = sum(len(one.get_text()) for one in inner)
        return within > _FEW and 2 * within > len(table.get_text())
    alone = all(len(row(["td", "th"])) < 2 for row in table("tr"))
    return alone and any(len(cell(_BLOCKS)) > 1 for cell in table("td"))


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
    if _is_box(grid):
        return [_boxed(row) for row in grid]
    tops = list(takewhile(_is_top, grid))
    rows = [[text for text, _ in row] for row in grid]
    before, above = 0, len(tops) if len(tops) < len(rows) else 0
    header = _names(rows[:above])
    if not above and not any(head for row in grid for _, head in row):
        before, above, header = heading_of([_unspread(row) for row in rows])
    named = [" | ".join(filter(None, header))] if above else []
    return [
        *(" | ".join(filter(None, _once(row))) for row in rows[:before]),
        *named,
        *(
            row_as_line(row, header) if above else " | ".join(filter(None, _once(row)))
            for row in rows[before + above :]
        ),
    ]


def _is_top(row: list[Cell]) -> bool:
    """Tell whether a row is of headings; the corner above those of rows may be an empty cell."""
    return len(row) > 1 and any(head for _, head in row) and all(head or not t for t, head in row)


def _unspread(row: list[str]) -> list[str]:
    """Return a title that spans the columns as one cell; other rows as they are."""
    return row[:1] if len(set(row)) == 1 else row


def _is_box(grid: list[list[Cell]]) -> bool:
    """Tell whether rows are names with a value each, with titles between them that span both."""
    named = [row for row in grid if not _is_title(row)]
    alone = all(len(row) == 2 and row[0][1] and not row[1][1] for row in named)
    return len(grid) > 1 and bool(named) and alone


def _is_title(row: list[Cell]) -> bool:
    return len(row) == 1 or (len(row) == 2 and row[0] == row[1])


def _boxed(row: list[Cell]) -> str:
    return row[0][0] if _is_title(row) else f"{row[0][0]}: {row[1][0]}"


def _names(rows: list[list[str]]) -> list[str]:
    """Return a name for each column, from several rows of headings those above each other."""
    width = max(map(len, rows), default=0)
    columns = [[row[at] for row in rows if at < len(row)] for at in range(width)]
    return [" ".join(dict.fromkeys(filter(None, column))) for column in columns]


def _once(row: list[str]) -> list[str]:
    """Leave out what a cell repeats that spans columns without names."""
    return [cell for at, cell in enumerate(row) if at == 0 or cell != row[at - 1]]
