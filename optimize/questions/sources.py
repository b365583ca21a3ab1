"""Reads the rows of a training set from a file or folder, each with its file and line.

JSONL, JSON, YAML, CSV, Excel and Parquet; a folder in BEIR's form. Which rows one value of JSON or
YAML stands for is told in `unrolling.py`.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ragwright.optimize.questions.cells import cells_as_rows, table_rows
from ragwright.optimize.questions.formats import PARAGRAPHS
from ragwright.optimize.questions.unrolling import unrolled
from ragwright.retrievers.documents.convert import check_archive
from ragwright.retrievers.documents.decoding import UndecodableText, decode_text
from ragwright.retrievers.documents.jsonl import decode_json
from ragwright.retrievers.documents.opening import UnreadableFile, open_unpacked, read_bytes
from ragwright.retrievers.documents.sheets import DAMAGED_BOOK
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.extras import require
from ragwright.retrievers.metadata import clean_text
from ragwright.retrievers.safe_yaml import parse_yaml

_MOST = 2_000_000_000

Placed = tuple[int, Any]
"""The number of a line or row, counted from 1, and what it holds."""


def read_training_rows(path: Path) -> Iterator[Placed]:
    """Yield the rows of a training set.

    Raises:
        InputError: It cannot be read, or a line is not JSON; with the line's number.
    """
    if path.is_dir():
        return _beir(path)
    kind = Path(path.stem).suffix if path.suffix in {".gz", ".bz2", ".xz", ".zst"} else path.suffix
    if kind.lower() in _PACKED:
        return _PACKED[kind.lower()](path)
    return _TEXTS.get(kind.lower(), _lines)(_text(path), path)


def _text(path: Path) -> str:
    try:
        with open_unpacked(path, _MOST) as file:
            return decode_text(file.read()).text
    except FileNotFoundError as error:
        raise _unread(path, error.strerror or "No such file") from error
    except (UnreadableFile, UndecodableText) as error:
        raise _unread(path, str(error)) from error


def _unread(path: Path, reason: str) -> InputError:
    return InputError(
        f"Cannot read the training set {str(path)!r}: {reason}.",
        hint="Give the path of a file (docs/training-set.md says of which kinds), or make one: "
        "rag questions RECIPE.",
    )


def _lines(text: str, path: Path) -> Iterator[Placed]:
    lines = text.split("\n")
    if len([line for line in lines if line.strip()]) > 1 and lines[0].strip() in {"[", "{"}:
        yield from _json(text, path)  # JSON under the name of JSONL
        return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            for row in unrolled(_parsed(line, f"{path}:{number}")):
                yield number, row


def _json(text: str, path: Path) -> Iterator[Placed]:
    return enumerate(unrolled(_parsed(text, str(path))), start=1)


def _parsed(text: str, place: str) -> Any:
    try:
        found = decode_json(text)
        return _sendable(found) if "\\u" in text else found
    except RecursionError as error:
        what = f"{place}: nested too deeply."
        raise InputError(what, hint="Write one JSON object a line.") from error
    except ValueError as error:
        reason = str(error).removeprefix("it is ")
        raise InputError(f"{place}: {reason}.", hint="Write one JSON object a line.") from error


def _sendable(value: Any) -> Any:
    """Return a value whose texts can be sent: JSON can spell halves of pairs, UTF-8 cannot.

    Keys are texts: those of YAML may be numbers.
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_sendable(one) for one in value]
    if isinstance(value, dict):
        return {clean_text(str(name)): _sendable(one) for name, one in value.items()}
    return value


def _comma_separated(text: str, path: Path) -> Iterator[Placed]:
    return table_rows(text, str(path))


def _tab_separated(text: str, path: Path) -> Iterator[Placed]:
    return table_rows(text, str(path), "\t")


def _yaml(text: str, path: Path) -> Iterator[Placed]:
    try:
        found = parse_yaml(text)
    except ValueError as error:
        raise _unread(path, str(error)) from error
    return enumerate(unrolled(_sendable(found)), start=1)


def _workbook(path: Path) -> Iterator[Placed]:
    """Yield the rows of the first sheet that has some; its first row names the columns."""
    require("openpyxl")
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        data = read_bytes(path, _MOST)
        check_archive(data, path.suffix.lower(), _MOST)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what openpyxl leaves out: styles, drawings
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            for sheet in book.worksheets:
                cells = sheet.iter_rows(values_only=True)
                if rows := [row for row in cells if any(map(_filled, row))]:
                    return cells_as_rows(rows)
    except (UnreadableFile, InvalidFileException, *DAMAGED_BOOK) as error:
        raise _unread(path, next(iter(str(error).splitlines()), "it is damaged")) from error
    raise _unread(path, "no sheet of it has a row")


def _filled(cell: object) -> bool:
    return cell is not None and bool(str(cell).strip())


def _parquet(path: Path) -> Iterator[Placed]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            batches = file.iter_batches(1000)
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unread(path, str(error).splitlines()[0]) from error


def _beir(folder: Path) -> Iterator[Placed]:
    """Yield the questions of a folder with `queries.jsonl` and `qrels/*.tsv` or `qrels.tsv`."""
    relevant = _judged(folder)
    texts = _corpus(folder, {name for names in relevant.values() for name in names})
    for number, row in _lines(_text(folder / "queries.jsonl"), folder / "queries.jsonl"):
        id = str(row.get("_id", "")) if isinstance(row, dict) else ""
        if id in relevant:
            known = row.get("metadata") or {}
            answer = row.get("answers") or row.get("answer")
            if answer is None and isinstance(known, dict):
                answer = known.get("answer")
            yield (
                number,
                {
                    "id": id,
                    "question": row.get("text", ""),
                    "documents": relevant[id],
                    PARAGRAPHS: [texts[name] for name in relevant[id] if name in texts],
                    **({} if answer is None else {"answers": answer}),
                },
            )


def _judged(folder: Path) -> dict[str, list[str]]:
    """Return the documents that are judged above 0, by question."""
    relevant: dict[str, list[str]] = {}
    for file in (*sorted((folder / "qrels").glob("*.tsv")), folder / "qrels.tsv"):
        if not file.is_file():
            continue
        for row in csv.reader(_text(file).splitlines(), delimiter="\t"):
            if len(row) >= 3 and row[-1].strip().lstrip("-").isdigit() and int(row[-1]) > 0:
                relevant.setdefault(row[0], []).append(row[-2])
    if not relevant:
        raise _unread(folder, "it is a folder without qrels/*.tsv, as BEIR has them")
    return relevant


def _corpus(folder: Path, wanted: set[str]) -> dict[str, str]:
    """Return the texts of these documents, where the folder has them."""
    file = folder / "corpus.jsonl"
    if not file.is_file():
        return {}
    rows = (row for _, row in _lines(_text(file), file) if isinstance(row, dict))
    found = ((str(row.get("_id", "")), str(row.get("text") or "")) for row in rows)
    return {id: text for id, text in found if id in wanted and text}


_PACKED: Mapping[str, Callable[[Path], Iterator[Placed]]] = {
    ".parquet": _parquet, ".xlsx": _workbook, ".xlsm": _workbook,
}  # fmt: skip
_TEXTS: Mapping[str, Callable[[str, Path], Iterator[Placed]]] = {
    ".csv": _comma_separated, ".tsv": _tab_separated, ".json": _json,
    ".yaml": _yaml, ".yml": _yaml,
}  # fmt: skip
"""By the file's ending; any other is JSON Lines."""
