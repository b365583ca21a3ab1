"""Reads a training set from a table in text (CSV and the like), whichever program wrote it."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from ragwright.retrievers.errors import InputError

_CELL = 1 << 30
_LITERAL = 1 << 20
"""Characters of a value in Python's own spelling, such as a list of objects, that are read."""
_SEPARATORS = ",;\t|"
_OWN = frozenset({"question", "answer", "answers", "document", "documents", "evidence"})
_TEXT = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_LISTED = re.compile(rf"\[\s*+{_TEXT}(?:\s*+,\s*+{_TEXT}|\s++{_TEXT})*+\s*+,?\s*+\]", re.DOTALL)
_ONE = re.compile(_TEXT, re.DOTALL)


def table_rows(text: str, place: str, separator: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows with their numbers; an empty cell is None, and a cell may hold a list.

    Lists are JSON, or as pandas and NumPy write them. Names of columns are taken without the
    spaces around them, and ours in capitals too.

    Args:
        text: Of the file.
        place: What errors call it.
        separator: What stands between the cells; by default what the first line shows.

    Raises:
        InputError: It is no CSV, or a row has more cells than there are columns.
    """
    csv.field_size_limit(_CELL)
    first = text.partition("\n")[0]
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator or max(_SEPARATORS, key=first.count)
    )
    try:
        names = [_name(cell) for cell in next(lines, [])]
        for number, cells in enumerate(filter(None, lines), start=1):
            while len(cells) > len(names) and not cells[-1].strip():
                cells.pop()
            if len(cells) > len(names):
                raise InputError(
                    f"{place}:{number}: it has {len(cells)} cells, for {len(names)} columns.",
                    hint="Put a cell that holds the separator in quotes.",
                )
            row = zip_longest(names, cells)
            if any(cells):
                yield (
                    number,
                    {name: cell_value(cell) if cell else None for name, cell in row if name},
                )
    except csv.Error as error:
        raise InputError(f"{place} is not CSV: {error}.", hint="Write it anew.") from error


def cells_as_rows(rows: Sequence[Sequence[Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield what a sheet holds below its first row, which names the columns, as `table_rows` does.

    Numbers and dates stay what the sheet has.
    """
    names = [_name("" if cell is None else str(cell)) for cell in rows[0]]
    for number, cells in enumerate(rows[1:], start=1):
        pairs = zip_longest(names, cells)
        row = {name: None if cell == "" else cell for name, cell in pairs if name}
        if any(cell is not None for cell in row.values()):
            yield (
                number,
                {name: cell_value(c) if isinstance(c, str) else c for name, c in row.items()},
            )


def _name(cell: str) -> str:
    name = cell.strip()
    return name.lower() if name.lower() in _OWN else name


def cell_value(cell: str) -> Any:
    """Return the list or object that a cell holds, or the cell as it is."""
    if not cell.startswith(("[", "{")):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    try:
        if _LISTED.fullmatch(cell.strip()):
            return [str(ast.literal_eval(one)) for one in _ONE.findall(cell)]
        found = ast.literal_eval(cell) if len(cell) <= _LITERAL else cell
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return cell
    return found if isinstance(found, list | dict) else cell
