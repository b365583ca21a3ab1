"""Reads a training set from a table in text (CSV and the like), whichever program wrote it."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from ragwright.retrievers.errors import InputError

_CELL = 1 << 30
_SEPARATORS = ",;\t|"
_OWN = frozenset({"question", "answer", "answers", "document", "documents", "evidence"})
_TEXT = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_LISTED = re.compile(rf"\[\s*+{_TEXT}(?:\s*+,\s*+{_TEXT}|\s++{_TEXT})*+\s*+,?\s*+\]", re.DOTALL)
_ONE = re.compile(_TEXT, re.DOTALL)


def table_rows(text: str, place: str, separator: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows with their numbers, without their empty cells; a cell may hold a list.

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
            row = zip(names, cells, strict=False)
            yield number, {name: cell_value(cell) for name, cell in row if name and cell}
    except csv.Error as error:
        raise InputError(f"{place} is not CSV: {error}.", hint="Write it anew.") from error


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
    if not _LISTED.fullmatch(cell.strip()):
        return cell
    try:
        return [str(ast.literal_eval(one)) for one in _ONE.findall(cell)]
    except (ValueError, SyntaxError):
        return cell
