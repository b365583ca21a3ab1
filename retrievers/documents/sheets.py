"""A workbook in, its rows out as they stand in the sheets: one line a row, each cell with its
column's name, so that no row is without its header wherever it is cut.
"""

from __future__ import annotations

import datetime
import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

from ragwright.retrievers.documents.convert import FileText
from ragwright.retrievers.documents.html_tables import as_line, is_header, is_number
from ragwright.retrievers.documents.opening import UnreadableFile

_MERGED = re.compile(rb'<(?:\w+:)?mergeCell ref="([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})"')
_UNSAVED = re.compile(rb"<f[^>]{0,200}>[^<]{0,8192}</f>\s{0,9}(?:<v\s{0,9}/>|<v></v>)?\s{0,9}</c>")
_MOST_MARKUP = 50_000_000
_MOST_MERGED = 200_000
CellPlace = tuple[int, int]
"""Row and column, counted from 1."""
_PADDED = re.compile(r"0{2,30}")
_FIXED = re.compile(r"(#,##)?0(\.(0{1,15}))?(%?)")


def sheets_text(data: bytes) -> FileText:
    """Return the text of all visible sheets.

    Raises:
        Unreadable: It is no workbook, or damaged.
    """
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    made = FileText("", "")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what openpyxl leaves out: styles, drawings
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            for sheet in book.worksheets:
                if sheet.sheet_state != "visible":
                    made.notes.append(f"the sheet {sheet.title!r} is hidden, and is not read")
                    continue
                source = _source(data, sheet)
                _add(made, sheet.title, _rows(sheet, _below(source)))
                if count := len(_UNSAVED.findall(source)):
                    made.notes.append(
                        f"{count} formulas of the sheet {sheet.title!r} have no value: save it "
                        "with a program that computes them"
                    )
            book.close()
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise UnreadableFile(
            f"it is damaged: {str(error)[:200] or type(error).__name__}"
        ) from error
    return made


def _add(made: FileText, name: str, rows: Iterator[list[str]]) -> None:
    header: list[str] = []
    numbers = set[int]()
    apart = started = False
    for row, below in pairwise(chain(rows, ([],))):
        if not row:
            apart = True
            continue
        if not started:
            made.text += "\n\n" if made.text else ""
            made.places.append((len(made.text), {"sheet": name}))
            made.text += f"## {name}\n"
            started = True
        alone = apart and len(_filled(row)) == 1
        if is_header(row) and (not header or (apart and _begins(row, below, header, numbers))):
            made.text += f"\n{' | '.join(cell for cell in row if cell)}"
            header, numbers = row, set()
        else:
            made.text += f"\n{as_line(row, [] if alone else header, joint='; ')}"
            numbers.update(at for at in _filled(row) if is_number(row[at]))
        apart = alone


def _begins(row: list[str], below: list[str], header: list[str], numbers: set[int]) -> bool:
    """Tell whether a row of names behind an empty one heads another table.

    It names other columns than the table above has, or says words where that has numbers; and the
    next row has cells under it.
    """
    names, under = _filled(row), _filled(below)
    other = names != _filled(header) or bool(names & numbers)
    return other and len(under) > 1 and under <= names


def _filled(row: list[str]) -> set[int]:
    return {at for at, cell in enumerate(row) if cell}


def _source(data: bytes, sheet: Any) -> bytes:
    """Return the markup of a sheet, which says what openpyxl does not while it streams."""
    place = getattr(sheet, "_worksheet_path", "").lstrip("/")
    with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(place) as part:
        return part.read(_MOST_MARKUP)


def _below(source: bytes) -> dict[CellPlace, CellPlace]:
    """Return the cells below the first of merged ones, each with that one, which has the value."""
    from openpyxl.utils.cell import range_boundaries

    found: dict[CellPlace, CellPlace] = {}
    for match in _MERGED.finditer(source):
        left, top, _, bottom = range_boundaries(match[1].decode())
        if bottom - top + len(found) > _MOST_MERGED:
            break
        found.update({(row, left): (top, left) for row in range(top + 1, bottom + 1)})
    return found


def _rows(sheet: Any, below: dict[CellPlace, CellPlace]) -> Iterator[list[str]]:
    """Yield the rows, and of empty ones in a row the first; what a sheet says of its size is not
    believed.

    A cell that is merged downwards stands in each of its rows.
    """
    sheet.reset_dimensions()
    tops, kept = set(below.values()), dict[CellPlace, str]()
    full = False
    width = max((column for _, column in below), default=0)
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells = [_shown(cell) for cell in row]
        cells += [""] * (width - len(cells))
        for column, text in enumerate(cells, start=1):
            if (number, column) in tops:
                kept[number, column] = text
            elif not text and (top := below.get((number, column))):
                cells[column - 1] = kept.get(top, "")
        while cells and not cells[-1]:
            cells.pop()
        if cells or full:
            yield cells
        full = bool(cells)


def _shown(cell: Any) -> str:
    """Return a cell as the sheet shows it, by the formats that matter for finding it."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time(0)
        return value.date().isoformat() if midnight else value.isoformat(" ")
    if isinstance(value, int | float):
        return _number(value, cell.number_format or "General")
    return " ".join(str(value).split())


def _number(value: float, format: str) -> str:
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if _PADDED.fullmatch(format) and isinstance(whole, int):
        return f"{whole:0{len(format)}d}"
    fixed = _FIXED.fullmatch(format)
    if fixed and (fixed[3] or fixed[4]):
        shown = f"{value * 100 if fixed[4] else value:.{len(fixed[3] or '')}f}"
        return f"{shown}%" if fixed[4] else shown
    return _plain(whole) if isinstance(whole, float) else str(whole)


def _plain(value: float) -> str:
    """Write a decimal number without an exponent, to the 15 digits that a sheet keeps."""
    text = f"{value:.15g}"
    return f"{float(text):.20f}".rstrip("0").rstrip(".") if "e" in text else text
