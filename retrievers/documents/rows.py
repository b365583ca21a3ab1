"""Rows in, one document each: of JSONL, CSV and Parquet files and of data sets of the hub."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Document, Scalar

_NAMED = {"_id", "id", "title", "metadata"}


def read_jsonl(path: Path, options: ReadOptions) -> Iterator[Document]:
    """Yield one document a line: `_id` or `id`, `text`, and optionally `title`, `metadata`."""
    del options  # a malformed line is an error of the file's author, never skipped
    number = 0
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            yield _record(line, f"{path}:{number}")
    if not number:
        raise InputError(f"{str(path)!r} is empty.", hint="Write one JSON object a line.")


def read_csv(path: Path, options: ReadOptions) -> Iterator[Document]:
    """Yield one document a row; the first row names the columns, and one is `text`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        _check_column("text", rows.fieldnames or (), str(path))
        yield from _documents(rows, path.name, "text", options)


def read_parquet(path: Path, options: ReadOptions) -> Iterator[Document]:
    """Yield one document a row; a column is `text`."""
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{str(path)!r} is not a Parquet file: {error}.") from error
    with file:
        _check_column("text", file.schema_arrow.names, str(path))
        rows = (row for batch in file.iter_batches(1000) for row in batch.to_pylist())
        yield from _documents(rows, path.name, "text", options)


def read_hub(name: str, options: ReadOptions) -> Iterator[Document]:
    """Yield one document a row of `NAME[:SPLIT[:TEXT_COLUMN]]`, streamed.

    Raises:
        InputError: There is no such data set, split or column.
    """
    import datasets

    repository, _, rest = name.partition(":")
    split, _, column = rest.partition(":")
    column = column or "text"
    try:
        rows = datasets.load_dataset(repository, split=split or "train", streaming=True)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The data set {repository!r} cannot be loaded: {str(error).splitlines()[0]}",
            hint="Check its name, its split and the network.",
        ) from error
    _check_column(column, rows.column_names or (), repository)
    yield from _documents(rows, repository, column, options)


def _documents(rows: Any, name: str, column: str, options: ReadOptions) -> Iterator[Document]:
    for number, row in enumerate(rows, start=1):
        place, text = f"{name}:{number}", row.get(column)
        if not isinstance(text, str) or not text.strip():
            options.handle(Problem(place, f"its {column!r} is empty"))
            continue
        id = row.get("_id") if row.get("_id") is not None else row.get("id")
        kept = {
            key: value
            for key, value in row.items()
            if key not in {*_NAMED, column} and isinstance(value, str | int | float | bool)
        }
        title = str(row.get("title") or "")
        yield Document(place if id is None else str(id), text, title, kept)


def _check_column(column: str, columns: Any, place: str) -> None:
    if column not in columns:
        raise InputError(
            f"{place!r} has no column {column!r}, but {', '.join(map(str, columns)) or 'none'}.",
            hint="Rename the column that holds the text.",
        )


def _record(line: str, place: str) -> Document:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{place} is not JSON: {error.msg}.") from error
    if not isinstance(record, dict):
        raise InputError(f"{place} is not a JSON object.")
    id = record.get("_id", record.get("id"))
    text = record.get("text")
    if not isinstance(id, str | int) or not isinstance(text, str):
        raise InputError(f"{place} lacks `_id` or `text`.", hint="Both are needed in every line.")
    metadata = _metadata(record.get("metadata") or {}, place)
    return Document(str(id), text, str(record.get("title") or ""), metadata)


def _metadata(values: object, place: str) -> Mapping[str, Scalar]:
    if not isinstance(values, dict):
        raise InputError(f"{place}: `metadata` is not a JSON object.")
    for key, value in values.items():
        if not isinstance(value, str | int | float | bool):
            raise InputError(
                f"{place}: metadata {key!r} is {value!r}, neither text, number nor boolean."
            )
    return dict(values)
