"""Finds which row of cells names the columns, and writes rows as lines that say their columns.

So no row is without its header wherever it is cut. What a table looks like tells it: names stand
above values, each once or in groups; years and dates that go up may be names too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

Row = Sequence[str]

_MONEY = r"(?:[$€£¥₹]|EUR|USD|GBP|CHF)"
_VALUE = re.compile(
    rf"[-+(\u2212]?\s?{_MONEY}?\s?[-+]?(?:\d[\d.,'\u2019\s]{{0,40}}|\.\d{{1,20}})(?:%|{_MONEY})?\)?"
    r"|[\d.,%\s+-]{1,40}"
    r"|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}\.?(?:[ T]\d{1,2}:\d{2}(?::\d{2})?)?"
    r"|\d{1,2}:\d{2}(?::\d{2})?"
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}(?:[-./]\d{1,4})?")
_NOTHING = frozenset({"n/a", "na", "-", "\u2013", "\u2014", "none", "tbd", "?"})
_BEFORE = 20
"""Rows above the names of columns, at most: what an export says of itself."""
_LONGEST_FORM = 60


class Heading(NamedTuple):
    """Where a table begins: rows above it, rows that name its columns, and these names."""

    before: int
    rows: int
    names: list[str]


NO_HEADING = Heading(0, 0, [])


def heading_of(rows: Sequence[Row]) -> Heading:
    """Return where the columns of a table are named; above that, its rows are narrower.

    >>> heading_of([["Sales"], ["Region", "2023", "2024"], ["North", "12", "14"]])
    Heading(before=1, rows=1, names=['Region', '2023', '2024'])
    """
    widest = 0
    widths = [len(filled(row)) for row in rows[: _BEFORE + 2]]
    for before, (row, below) in enumerate(pairwise(rows[: _BEFORE + 2])):
        third = rows[before + 2] if before + 2 < len(rows) else ()
        groups = bool(third) and _are_groups(row, below)
        wide, under = widths[before + groups], widths[before + 1 :]
        wider = sum(one > wide + (not row[0]) for one in under)
        if wide <= widest or 2 * wider > len(under):
            continue
        widest = wide
        if groups and is_header(found := _joined(row, below), third):
            return Heading(before, 2, found)
        if is_header(row, below):
            return Heading(before, 1, [*row])
    return NO_HEADING


def is_header(row: Row, below: Row = ()) -> bool:
    """Tell whether a row names the columns of what is below it: no name is a value.

    A name stands there once, or above numbers several times, or in tables that stand side by side.
    """
    here = filled(row)
    names = [row[at] for at in sorted(here)]
    values = [at for at in sorted(here) if is_value(row[at])]
    if len(names) < 2 or len(filled(below) - here) > len(here):
        return False
    if values and not _goes_up(row, below, values):
        return False
    return len(set(names)) == len(names) or _are_repeated(row, below, names)


def is_form(rows: Sequence[Row]) -> bool:
    """Tell whether rows are names with one value each, of several kinds, and no table."""
    columns = sorted({at for row in rows for at in filled(row)})
    if len(columns) != 2 or not 3 <= len(rows) <= _LONGEST_FORM:
        return False
    left, right = columns
    if any(len(row) <= left or not row[left] or is_value(row[left]) for row in rows):
        return False
    if all(row[left].endswith(":") for row in rows):
        return True
    said = [row[right] for row in rows if right < len(row) and row[right]]
    words = [one for one in said if not is_value(one) and one.casefold() not in _NOTHING]
    return len(set(said)) == len(said) and len(words) > 1 and len(said) > len(words)


def is_value(cell: str) -> bool:
    """Tell whether a cell is a number, an amount, a date or a time."""
    return _VALUE.fullmatch(cell) is not None


def filled(row: Row) -> set[int]:
    return {at for at, cell in enumerate(row) if cell}


def row_as_line(row: Row, header: Row, joint: str = "; ") -> str:
    """Return a row as a line, each cell with its column's name where it has one."""
    named = [(header[at] if at < len(header) else "", cell) for at, cell in enumerate(row)]
    return joint.join(f"{name}: {cell}" if name else cell for name, cell in named if cell)


def form_lines(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a form: each name with its value."""
    pairs = [[cell for cell in row if cell] for row in rows]
    return [f"{name.rstrip(':')}: {' '.join(values)}" for name, *values in pairs]


def _goes_up(row: Row, below: Row, values: Sequence[int]) -> bool:
    """Tell whether the values in a row are a series of years, dates or small numbers, unlike
    those below it.
    """
    under = [below[at] for at in values if at < len(below)]
    here = [row[at] for at in values]
    named = bool(filled(row) - {*values}) or not row[0]
    kind = _series(here)
    if kind == "numbers" and (len(here) < 3 or int(here[0]) > 1):
        return False
    return named and kind != "" and kind != _series(under)


def _series(cells: Sequence[str]) -> str:
    """Return what cells are that go up by one step: "years", "numbers" or "dates"; "" of others."""
    if len(cells) < 2 or len(set(cells)) < len(cells):
        return ""
    if all(cell.isdecimal() and cell.isascii() and len(cell) < 9 for cell in cells):
        if len({int(after) - int(before) for before, after in pairwise(cells)}) > 1:
            return ""
        return "years" if all(map(_YEAR.fullmatch, cells)) else "numbers"
    return "dates" if all(map(_DATE.fullmatch, cells)) else ""


def _are_repeated(row: Row, below: Row, names: Sequence[str]) -> bool:
    above = [at for at in filled(row) & filled(below) if not is_value(row[at])]
    over_values = any(is_value(below[at]) for at in above)
    return (over_values and len(set(names)) * 2 >= len(names)) or _are_alike(row)


def _are_alike(row: Row) -> bool:
    """Tell whether a row is the same names several times, with empty columns between."""
    parts: list[list[str]] = [[]]
    for cell in row:
        if cell:
            parts[-1].append(cell)
        elif parts[-1]:
            parts.append([])
    first, *others = [part for part in parts if part]
    alike = bool(others) and all(part == first for part in others)
    return alike and len(first) > 1 and len(set(first)) == len(first)


def _are_groups(row: Row, below: Row) -> bool:
    """Tell whether a row names groups of the columns that the next one names."""
    here, under = filled(row), filled(below)
    names = [below[at] for at in sorted(under)]
    if not (here <= under and len({row[at] for at in here}) > 1 and len(under) > 2):
        return False
    if any(map(is_value, names)) or any(is_value(row[at]) and not _YEAR.fullmatch(row[at])
                                        for at in here):  # fmt: skip
        return False
    spread = any(before and before == after for before, after in pairwise(row))
    return spread or (here < under and len(set(names)) < len(names))


def _joined(row: Row, below: Row) -> list[str]:
    """Return the names of columns, each behind its group's; a group goes on to the next one's."""
    spread = any(before and before == after for before, after in pairwise(row))
    names, group = list[str](), ""
    for at, name in enumerate(below):
        own = row[at] if at < len(row) else ""
        group = own if own or spread or not name else group
        names.append(name if group == name else f"{group} {name}".strip())
    return names
