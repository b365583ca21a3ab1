"""Reads the typed rows of CSV files.

The columns are separated by what makes the text one of their names: a comma, a semicolon, a tab or
a bar. A column is of numbers or of booleans only if every cell of it is: one code with a leading
zero, and all of them are text.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

from ragwright.retrievers.documents.columns import heading_of, row_as_line
from ragwright.retrievers.documents.decoding import (
    UndecodableText,
    detect_encoding,
    encoding_sample,
)
from ragwright.retrievers.documents.html import shown_if_page
from ragwright.retrievers.documents.opening import UnreadableFile, open_unpacked
from ragwright.retrievers.documents.options import ColumnType, Problem, ReadOptions
from ragwright.retrievers.errors import InputError

_SEPARATORS = ",;\t|"
_CELL = 1 << 30
_END = "\x00end"
"""Comes behind the last line: a row that it is a part of has a quote that is never closed."""
_FEWEST_ROWS = 2
_FITTING = 0.9
"""The share of rows with as many cells as there are columns, from which on a text is a table."""
_BEGINNING = 20_000
"""Characters that tell what separates cells."""
_HEAD = 50
_LISTED = 20
_SHOWN = 60
"""Signs of a column's name that an error repeats."""
"""Columns that an error names."""
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
_SAID = re.compile(r"sep=.", re.IGNORECASE)
"""What Excel writes above the names of the columns."""
_QUOTED = re.compile(r'(?m)(?:^|[,;\t|])"')
_BOOLEANS = {"true": True, "false": False}


def csv_rows(
    path: Path, options: ReadOptions, name: str = ""
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of a file with their numbers; empty cells and empty rows are left out.

    The file is read to tell its encoding, then the kinds of its columns, then its rows.

    Args:
        path: The file.
        options: What to do about problems.
        name: What to call the file there, if not by its path.

    Raises:
        InputError: It cannot be read or lacks the column of the text, or a row does not fit its
            columns and is not to be skipped.
    """
    encoding = _encoding(path, options)
    kinds = _kinds(path, options, encoding)
    for number, row in _rows(path, options, encoding, report=name or path.name):
        yield number, _typed(row, kinds, options.text)


def has_column(path: Path, options: ReadOptions) -> bool:
    """Tell whether the first line of a file names the column of the text."""
    try:
        with _text(path, options, _encoding(path, options)) as text:
            _header(text, path, options.text)
    except InputError:
        return False
    return True


def _rows(
    path: Path, options: ReadOptions, encoding: str, *, report: str = ""
) -> Iterator[tuple[int, dict[str, str]]]:
    with _text(path, options, encoding) as text:
        names, reader = _header(text, path, options.text)
        try:
            for number, cells in enumerate(filter(None, reader), start=1):
                if cells == [_END]:
                    return
                if not any(map(str.strip, cells)):  # sheets write such rows behind their last
                    continue
                if reason := _misfit(cells, names):
                    if report:
                        options.handle(Problem(f"{report}:{number}", reason))
                    continue
                row = dict(zip(names, cells, strict=False))
                row.pop("", None)  # a column without a name
                yield number, row
        except csv.Error as error:
            raise InputError(
                f"{str(path)!r} is not CSV: {error}.", hint="Write it anew."
            ) from error


def _misfit(cells: list[str], names: list[str]) -> str:
    """Say why cells are no row; empty ones behind the last column, as sheets write, are dropped."""
    while len(cells) > len(names) and not cells[-1].strip():
        cells.pop()
    if cells and cells[-1].endswith(_END):
        return "a quote in it is never closed, so that all behind it is lost"
    if len(cells) > len(names):
        return f"it has {len(cells)} cells, more than the {len(names)} columns"
    return ""


def _header(text: IO[str], path: Path, column: str) -> tuple[list[str], Iterator[list[str]]]:
    """Return the names of the columns, and the reader of what comes behind them."""
    csv.field_size_limit(_CELL)
    first = text.readline()
    while first and (not first.strip() or _SAID.fullmatch(first.strip())):
        first = text.readline()
    separator = next((one for one in _SEPARATORS if column in _cells(first, one, column)), None)
    separator = separator or max(_SEPARATORS, key=first.count)
    spaced = f"{separator} " in first
    lines = chain([first], text, [_END])
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=spaced)
    try:
        names = _named(next(reader, []), column)
    except csv.Error as error:
        raise InputError(f"{str(path)!r} is not CSV: {error}.", hint="Write it anew.") from error
    if column not in names:
        raise InputError(
            f"{str(path)!r} has no column {column!r}, but {listed_columns(names)}.",
            hint="Rename the column that holds the text, or name it: text under [index.reading].",
        )
    named = list(filter(None, names))
    if len(set(named)) < len(named):
        raise InputError(f"{str(path)!r} has two columns of one name.", hint="Rename one of them.")
    return names, reader


def _cells(line: str, separator: str, column: str) -> list[str]:
    try:
        return _named(next(csv.reader([line.strip("\r\n")], delimiter=separator), []), column)
    except csv.Error:
        return []


def _named(cells: list[str], column: str) -> list[str]:
    """Return the names of columns; what rows are made of is known in capitals too."""
    names = [" ".join(cell.removesuffix(_END).split()) for cell in cells]
    known = {column.casefold(): column, "title": "title", "id": "id", "_id": "_id"}
    there = set(names)
    return [
        name if (meant := known.get(name.casefold(), name)) in there else meant for name in names
    ]


def listed_columns(names: Sequence[str]) -> str:
    """Return names of columns for a message: so many, and of each so much, as people read."""
    shown = [name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..." for name in names[:_LISTED]]
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return (", ".join(shown) or "none") + more


def table_as_lines(text: str) -> str:
    """Return a table's rows as lines, each cell with its column's name; other text as it is.

    So no row is without its header wherever it is cut. What stands above the names of the columns,
    as exports say what they are, stays above.
    """
    csv.field_size_limit(_CELL)
    separator = max(_SEPARATORS, key=lambda one: _alike(text[:_BEGINNING], one))
    try:
        rows = _quoted_or_not(_with_doubled_quotes(text), separator)
    except csv.Error:
        return text
    cells = [list(map(_in_a_line, row)) for row in rows if any(row)]
    _, width = _most(Counter(map(len, cells)))
    heading = heading_of([row if len(row) >= width else row[:1] for row in cells[:_HEAD]])
    table = cells[heading.before :]
    if not width or not heading.rows or not _is_table(table, width):
        return text
    above = [" | ".join(filter(None, row)) for row in cells[: heading.before]]
    named = " | ".join(filter(None, heading.names))
    # Of a row of more cells nobody knows which is of which column: a comma is in one, perhaps.
    # One cell alone is a remark.
    lines = [
        row_as_line(row, heading.names) if 1 < len(row) <= width else " | ".join(filter(None, row))
        for row in table[heading.rows :]
    ]
    return "\n".join([*filter(None, above), named, *filter(None, lines)]) + "\n"


def _in_a_line(cell: str) -> str:
    """Return a cell as one line; of one that is HTML, as help desks export, what a page shows."""
    shown = cell.endswith(">") and shown_if_page(cell.lstrip())
    return " ".join((shown or cell).split())


def _is_table(rows: list[list[str]], width: int) -> bool:
    """Tell whether most rows have a width, and nearly all others only end before it.

    Below many tables stands a remark.
    """
    if len(rows) > 1 and len(rows[-1]) == 1:
        rows = rows[:-1]
    whole = sum(len(row) == width for row in rows)
    ending = sum(1 < len(row) < width for row in rows)
    odd = len(rows) - whole - ending
    return (
        len(rows) >= _FEWEST_ROWS
        and whole * 2 >= len(rows)
        and odd <= max(1, (1 - _FITTING) * len(rows))
    )


def _with_doubled_quotes(text: str) -> str:
    """Return a table with quotes in cells doubled where its writer puts a stroke before them."""
    stroked = '\\"' in text and '""' not in text and _QUOTED.search(text)
    return text.replace('\\"', '""') if stroked else text


def _quoted_or_not(text: str, separator: str) -> list[list[str]]:
    """Return the rows of a table; where a quote swallows lines that are rows, it is a sign (5").

    That is one which is never closed, or in whose cell there are tabs of a table of tabs.
    """
    spaced = f'{separator} "' in text
    rows = list(
        csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=spaced)
    )
    long = [cell for row in rows for cell in row if "\n" in cell or "\r" in cell]
    open_ended = bool(rows and long) and rows[-1][-1] == long[-1] and text.count('"') % 2
    if not (open_ended or (separator == "\t" and any("\t" in cell for cell in long))):
        return rows
    lines = filter(str.strip, text.splitlines())
    plain = list(csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE))
    return plain if len({len(row) for row in plain}) == 1 and len(plain[0]) > 1 else rows


def _alike(text: str, separator: str) -> tuple[int, int]:
    """Return how many rows of a text have as many cells as most have, if those are several."""
    try:
        lines = csv.reader(
            text.splitlines(), delimiter=separator, skipinitialspace=f'{separator} "' in text
        )
        lengths = Counter(map(len, lines))
    except csv.Error:
        return 0, 0
    return _most(lengths)


def _most(lengths: Counter[int]) -> tuple[int, int]:
    """Return how many rows have as many cells as most of those with several, and how many."""
    return max(((count, width) for width, count in lengths.items() if width > 1), default=(0, 0))


def _encoding(path: Path, options: ReadOptions) -> str:
    """Return the encoding of all of a file, of which the first part may be plain ASCII."""
    try:
        with open_unpacked(path, options.max_unpacked_bytes) as file:
            name, guessed = detect_encoding(encoding_sample(file), told=options.encoding)
    except (UnreadableFile, UndecodableText) as error:
        raise InputError(f"Cannot read {str(path)!r}: {error}.", hint="Write it anew.") from error
    if guessed:
        options.note(path.name, f"it is not UTF-8, and was read as {name}")
    return name


@contextmanager
def _text(path: Path, options: ReadOptions, encoding: str) -> Iterator[IO[str]]:
    """Open a file as text, with line ends left to the reader of CSV."""
    try:
        with (
            open_unpacked(path, options.max_unpacked_bytes) as file,
            io.TextIOWrapper(file, encoding, newline="") as text,
        ):
            yield text
    except (UnreadableFile, UndecodableText, UnicodeError) as error:
        reason = f"it is not UTF-8: {error}" if isinstance(error, UnicodeError) else str(error)
        raise InputError(f"Cannot read {str(path)!r}: {reason}.", hint="Write it anew.") from error


def _kinds(path: Path, options: ReadOptions, encoding: str) -> dict[str, ColumnType]:
    """Tell the kind of every column from all of its cells; what the options say goes before."""
    may: dict[str, set[ColumnType]] = {}
    for _, row in _rows(path, options, encoding):
        for name, cell in row.items():
            if not cell.strip():
                continue
            held = may.setdefault(name, {"number", "boolean"})
            if held:
                held.intersection_update(_kinds_of(cell.strip()))
    told: dict[str, ColumnType] = {name: min(held) for name, held in may.items() if held}
    return {
        **told,
        options.text: "text",
        "title": "text",
        "_id": "text",
        "id": "text",
        **options.types,
    }


def _kinds_of(cell: str) -> set[ColumnType]:
    if cell.lower() in _BOOLEANS:
        return {"boolean"}
    return {"number"} if _NUMBER.fullmatch(cell) else set()


def _typed(row: Mapping[str, str], kinds: Mapping[str, ColumnType], column: str) -> dict[str, Any]:
    return {
        name: cell if name == column else _cell(cell, kinds.get(name, "text"))
        for name, cell in row.items()
        if cell.strip() or name == column
    }


def _cell(cell: str, kind: ColumnType) -> str | int | float | bool:
    """Return a cell as its kind; one that is not of it stays text."""
    text = cell.strip()
    if kind == "boolean":
        return _BOOLEANS.get(text.lower(), cell)
    if kind == "number":
        try:
            return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else float(text)
        except ValueError:
            return cell
    return cell
