"""Reads the rows of a workbook as they stand in the sheets: one line a row, each cell with its
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

from ragwright.retrievers.documents.columns import (
    NO_HEADING,
    Heading,
    filled,
    form_lines,
    heading_of,
    is_form,
    is_value,
    row_as_line,
)
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.office_parts import sheet_remarks
from ragwright.retrievers.documents.opening import UnreadableFile

_MERGED = re.compile(rb'<(?:\w+:)?mergeCell ref="([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})"')
_UNSAVED = re.compile(rb"<f[^>]{0,200}>[^<]{0,8192}</f>\s{0,9}(?:<v\s{0,9}/>|<v></v>)?\s{0,9}</c>")
_MOST_MARKUP = 50_000_000
_MOST_MERGED = 200_000
CellPlace = tuple[int, int]
"""Row and column, counted from 1."""
SheetRow = tuple[list[str], list[str]]
"""The cells of a row; and the same with what is merged to the right in each of its columns."""
_SOME = 200
"""Rows that are looked at together."""
DAMAGED_BOOK = (zipfile.BadZipFile, KeyError, ValueError, TypeError, SyntaxError)
"""What damaged files raise; parsers of XML call it an error of syntax."""
_PADDED = re.compile(r"0{2,30}")
_UNSHOWN = re.compile(r"\[(?:[A-Za-z]+\d*|[<>=][^\]]*|\$-[^\]]*)\]|_.|\*.")
"""Colours, conditions, languages and space of a format."""
_SIGNS = re.compile(r'"([^"]*)"|\\(.)|\[\$([^-\]]*)(?:-[^\]]*)?\]')
"""What a format writes as it is: in quotes, behind a stroke, a currency in brackets."""
_DIGITS = re.compile(r"[#0?][#0?,.]*(?:%|E\+0+)?")
_SAYING = re.compile(r"[^\W\d_]|[$€£¥₹°]")
_FIXED = re.compile(r"(#,##)?0(\.(0{1,15}))?(%?)")


def sheets_text(data: bytes) -> FileText:
    """Return the text of all visible sheets.

    Raises:
        UnreadableFile: It is no workbook, or damaged.
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
                _add(made, sheet.title, _rows(sheet, source))
                made.text += "".join(f"\n{line}" for line in _remarks(data, sheet))
                if count := len(_UNSAVED.findall(source)):
                    made.notes.append(
                        f"{count} formulas of the sheet {sheet.title!r} have no value: save it "
                        "with a program that computes them"
                    )
            book.close()
    except (InvalidFileException, *DAMAGED_BOOK) as error:
        raise UnreadableFile(
            f"it is damaged: {str(error)[:200] or type(error).__name__}"
        ) from error
    return made


def _add(made: FileText, name: str, rows: Iterator[SheetRow]) -> None:
    header: list[str] = []
    numbers = set[int]()
    started = False
    for block, begins in _blocks(rows):
        if not started:
            made.text += "\n\n" if made.text else ""
            made.places.append((len(made.text), {"sheet": name}))
            made.text += f"## {name}\n"
            started = True
        cells = [row for row, _ in block]
        if begins and is_form(cells):
            made.text += "".join(f"\n{line}" for line in form_lines(cells))
            continue
        heading = _heading(block, header, numbers) if begins else NO_HEADING
        for row in cells[: heading.before]:
            made.text += f"\n{row_as_line(row, [])}"
        if heading.rows:
            header, numbers = heading.names, set()
            made.text += f"\n{' | '.join(filter(None, header))}"
        alone = begins and not heading.rows and len(filled(cells[0])) == 1
        for at, row in enumerate(cells[heading.before + heading.rows :]):
            made.text += f"\n{row_as_line(row, [] if alone and not at else header)}"
            numbers.update(at for at in filled(row) if is_value(row[at]))


def _blocks(rows: Iterator[SheetRow]) -> Iterator[tuple[list[SheetRow], bool]]:
    """Yield rows between empty ones, some at a time; and whether these are the first of theirs."""
    block: list[SheetRow] = []
    begins = True
    for row in rows:
        if row[0]:
            block.append(row)
        if block and (not row[0] or len(block) == _SOME):
            yield block, begins
            block, begins = [], False
        begins = begins or not row[0]
    if block:
        yield block, begins


def _heading(block: list[SheetRow], header: list[str], numbers: set[int]) -> Heading:
    """Return where the columns of a block are named, if they are not those of the table above."""
    found = heading_of([_spread(row, wide) for row, wide in block[:_SOME]])
    below = [row for row, _ in block[found.before + found.rows :]][:1]
    if found.rows and header and not _begins(found.names, below[0], header, numbers):
        return NO_HEADING
    return found


def _spread(row: list[str], wide: list[str]) -> list[str]:
    """Return a row with what is merged to the right in each column, unless it is one title."""
    return wide if len(filled(row)) > 1 else row


def _begins(row: list[str], below: list[str], header: list[str], numbers: set[int]) -> bool:
    """Tell whether a row of names behind an empty one heads another table.

    It names other columns than the table above has, or says words where that has numbers; and the
    next row has cells under it.
    """
    names, under = filled(row), filled(below)
    other = names != filled(header) or bool(names & numbers)
    return other and len(under) > 1 and under <= names


def _source(data: bytes, sheet: Any) -> bytes:
    """Return the markup of a sheet, which says what openpyxl does not while it streams."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(_part_of(sheet)) as part:
        return part.read(_MOST_MARKUP)


def _remarks(data: bytes, sheet: Any) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return sheet_remarks(archive, _part_of(sheet))


def _part_of(sheet: Any) -> str:
    return str(getattr(sheet, "_worksheet_path", "")).lstrip("/")


def _merged(source: bytes) -> tuple[dict[CellPlace, CellPlace], dict[CellPlace, CellPlace]]:
    """Return the cells below, and those beside the first of merged ones, each with that one."""
    from openpyxl.utils.cell import range_boundaries

    below: dict[CellPlace, CellPlace] = {}
    beside: dict[CellPlace, CellPlace] = {}
    for match in _MERGED.finditer(source):
        left, top, right, bottom = range_boundaries(match[1].decode())
        if bottom - top + len(below) > _MOST_MERGED or right - left + len(beside) > _MOST_MERGED:
            break
        below.update({(row, left): (top, left) for row in range(top + 1, bottom + 1)})
        beside.update({(top, column): (top, left) for column in range(left + 1, right + 1)})
    return below, beside


def _rows(sheet: Any, source: bytes) -> Iterator[SheetRow]:
    """Yield the rows, and of empty ones in a row the first; what a sheet says of its size is not
    always so.

    A cell that is merged downwards stands in each of its rows.
    """
    sheet.reset_dimensions()
    below, beside = _merged(source)
    tops, kept = set(below.values()), dict[CellPlace, str]()
    full = False
    width = max((column for _, column in (*below, *beside)), default=0)
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells = [_shown(cell) for cell in row]
        cells += [""] * (width - len(cells))
        for column, text in enumerate(cells, start=1):
            if (number, column) in tops:
                kept[number, column] = text
            elif not text and (top := below.get((number, column))):
                cells[column - 1] = kept.get(top, "")
        wide = [
            text or cells[beside.get((number, column), (0, column))[1] - 1]
            for column, text in enumerate(cells, start=1)
        ]
        while cells and not cells[-1]:
            cells.pop()
        if cells or full:
            yield cells, wide
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
    before, format, behind = _parted(format)
    return f"{before}{_digits(value, whole, format)}{behind}"


def _parted(format: str) -> tuple[str, str, str]:
    """Return what a format writes before a number, how it writes that, and what behind it."""
    first = _SIGNS.sub(r"\1\2\3", _UNSHOWN.sub("", format.partition(";")[0]))
    digits = _DIGITS.search(first)
    if not digits or digits[0].endswith(","):  # which writes thousands or millions
        return "", format, ""
    before, behind = first[: digits.start()], first[digits.end() :]
    return (
        before.lstrip() if _SAYING.search(before) else "",
        digits[0],
        behind.rstrip() if _SAYING.search(behind) else "",
    )


def _digits(value: float, whole: float, format: str) -> str:
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
