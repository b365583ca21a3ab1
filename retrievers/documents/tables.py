"""CSV in, typed rows out.

The columns are separated by what makes `text` one of their names: a comma, a semicolon, a tab or a
bar. A column is of numbers or of booleans only if every cell of it is: one code with a leading
zero, and all of them are text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ragwright.retrievers.documents.decoding import Undecodable, encoding_of, telling_part
from ragwright.retrievers.documents.opening import Unreadable, unpacked
from ragwright.retrievers.documents.options import ColumnType, Problem, ReadOptions
from ragwright.retrievers.errors import InputError

_SEPARATORS = ",;\t|"
_CELL = 1 << 30
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?([eE][+-]?\d{1,3})?", re.ASCII)
_SAID = re.compile(r"sep=.", re.IGNORECASE)
"""What Excel writes above the names of the columns."""
_BOOLEANS = {"true": True, "false": False}


def csv_rows(path: Path, options: ReadOptions) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of a file with their numbers; empty cells are left out.

    The file is read to tell its encoding, then the kinds of its columns, then its rows.

    Raises:
        InputError: It cannot be read or has no column `text`, or a row does not fit its columns
            and is not to be skipped.
    """
    encoding = _encoding(path, options)
    kinds = _kinds(path, options, encoding)
    for number, row in _rows(path, options, encoding, report=True):
        yield number, _typed(row, kinds)


def _rows(
    path: Path, options: ReadOptions, encoding: str, *, report: bool
) -> Iterator[tuple[int, dict[str, str]]]:
    with _text(path, options, encoding) as text:
        names, reader = _header(text, path)
        try:
            for number, cells in enumerate(filter(None, reader), start=1):
                if len(cells) <= len(names):
                    row = dict(zip(names, cells, strict=False))
                    row.pop("", None)  # a column without a name
                    yield number, row
                elif report:
                    reason = f"it has {len(cells)} cells, more than the {len(names)} columns"
                    options.handle(Problem(f"{path.name}:{number}", reason))
        except csv.Error as error:
            raise InputError(
                f"{str(path)!r} is not CSV: {error}.", hint="Write it anew."
            ) from error


def _header(text: IO[str], path: Path) -> tuple[list[str], Iterator[list[str]]]:
    csv.field_size_limit(_CELL)
    first = text.readline()
    while first and (not first.strip() or _SAID.fullmatch(first.strip())):
        first = text.readline()
    separator = next((one for one in _SEPARATORS if "text" in _cells(first, one)), ",")
    names = _cells(first, separator)
    if "text" not in names:
        raise InputError(
            f"{str(path)!r} has no column 'text', but {', '.join(names) or 'none'}.",
            hint="Rename the column that holds the text.",
        )
    named = list(filter(None, names))
    if len(set(named)) < len(named):
        raise InputError(f"{str(path)!r} has two columns of one name.", hint="Rename one of them.")
    return names, csv.reader(text, delimiter=separator)


def _cells(line: str, separator: str) -> list[str]:
    try:
        cells = next(csv.reader([line.strip("\r\n")], delimiter=separator), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in cells]


def _encoding(path: Path, options: ReadOptions) -> str:
    """Return the encoding of all of a file, of which the first part may be plain ASCII."""
    try:
        with unpacked(path, options.max_unpacked_bytes) as file:
            name, guessed = encoding_of(telling_part(file), told=options.encoding)
    except (Unreadable, Undecodable) as error:
        raise InputError(f"Cannot read {str(path)!r}: {error}.", hint="Write it anew.") from error
    if guessed:
        options.note(path.name, f"it is not UTF-8, and was read as {name}")
    return name


@contextmanager
def _text(path: Path, options: ReadOptions, encoding: str) -> Iterator[IO[str]]:
    """Open a file as text, with line ends left to the reader of CSV."""
    try:
        with (
            unpacked(path, options.max_unpacked_bytes) as file,
            io.TextIOWrapper(file, encoding, newline="") as text,
        ):
            yield text
    except (Unreadable, Undecodable, UnicodeError) as error:
        reason = f"it is not UTF-8: {error}" if isinstance(error, UnicodeError) else str(error)
        raise InputError(f"Cannot read {str(path)!r}: {reason}.", hint="Write it anew.") from error


def _kinds(path: Path, options: ReadOptions, encoding: str) -> dict[str, ColumnType]:
    """Tell the kind of every column from all of its cells; what the options say goes before."""
    may: dict[str, set[ColumnType]] = {}
    for _, row in _rows(path, options, encoding, report=False):
        for name, cell in row.items():
            if not cell.strip():
                continue
            held = may.setdefault(name, {"number", "boolean"})
            if held:
                held.intersection_update(_kinds_of(cell.strip()))
    told: dict[str, ColumnType] = {name: min(held) for name, held in may.items() if held}
    return {**told, "text": "text", "title": "text", "_id": "text", "id": "text", **options.types}


def _kinds_of(cell: str) -> set[ColumnType]:
    if cell.lower() in _BOOLEANS:
        return {"boolean"}
    return {"number"} if _NUMBER.fullmatch(cell) else set()


def _typed(row: Mapping[str, str], kinds: Mapping[str, ColumnType]) -> dict[str, Any]:
    return {
        name: cell if name == "text" else _cell(cell, kinds.get(name, "text"))
        for name, cell in row.items()
        if cell.strip() or name == "text"
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
