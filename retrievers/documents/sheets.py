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
from typing import Any

from ragwright.retrievers.documents.convert import Converted
from ragwright.retrievers.documents.html_tables import as_line, is_header
from ragwright.retrievers.documents.opening import Unreadable

_PADDED = re.compile(r"0{2,30}")
_FIXED = re.compile(r"(#,##)?0(\.(0{1,15}))?(%?)")


def sheets_text(data: bytes) -> Converted:
    """Return the text of all visible sheets.

    Raises:
        Unreadable: It is no workbook, or damaged.
    """
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    made = Converted("", "")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what openpyxl leaves out: styles, drawings
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            for sheet in book.worksheets:
                if sheet.sheet_state == "visible":
                    _add(made, sheet.title, _rows(sheet))
            book.close()
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise Unreadable(f"it is damaged: {str(error)[:200] or type(error).__name__}") from error
    return made


def _add(made: Converted, name: str, rows: Iterator[list[str]]) -> None:
    header: list[str] | None = None
    started = False
    for row in rows:
        if header is None and is_header(row):
            header = row
        if not started:
            made.text += "\n\n" if made.text else ""
            made.places.append((len(made.text), {"sheet": name}))
            made.text += f"## {name}\n"
            started = True
            if header is not None:
                made.text += f"\n{' | '.join(cell for cell in row if cell)}"
                continue
        made.text += f"\n{as_line(row, header or [], joint='; ')}"


def _rows(sheet: Any) -> Iterator[list[str]]:
    """Yield the rows that hold something; what a sheet says of its size is not believed."""
    sheet.reset_dimensions()
    for row in sheet.iter_rows():
        cells = [_shown(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield cells


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
