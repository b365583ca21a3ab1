"""Rows in, one document each: of JSON, CSV and Parquet files and of data sets of the hub.

Whatever they come from, rows obey one rule: `text` is the text; `_id` or `id` the id, or another
column that is called like one and tells rows apart, or else the row's place; `title` the title;
`metadata` and every other column is metadata. A row that breaks it is a problem with a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ragwright.retrievers.argument_checks import short_repr
from ragwright.retrievers.documents.chats import is_chat_message
from ragwright.retrievers.documents.decoding import UndecodableText, decode_text
from ragwright.retrievers.documents.html import shown_if_page
from ragwright.retrievers.documents.json_rows import TEXTS, id_key, rows_in, text_key
from ragwright.retrievers.documents.jsonl import decode_json, jsonl_objects, numbered_lines
from ragwright.retrievers.documents.opening import PACKED, UnreadableFile, open_unpacked
from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.documents.tables import csv_rows, has_column, listed_columns
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.metadata import clean_text, is_nested, normalize_metadata
from ragwright.retrievers.types import Document, Value

JSONL = frozenset({".jsonl", ".ndjson"})
TABLES = frozenset({".csv", ".tsv"})
_NAMED = frozenset({"_id", "id", "title", "metadata"})

_HEAD = 1000
"""Rows that are looked at for what the ids are called."""
_LONGEST_FACT, _MOST_NUMBERS = 2000, 64
"""Signs of the same text in another form, and numbers of a list, beyond which it is no metadata."""
_SAID = 8
"""Keys of a row without text that are named."""

NumberedRow = tuple[int, Mapping[str, Any]]
"""A row's number, counted from 1, and its values by name."""


def read_jsonl(path: Path, options: ReadOptions) -> Iterator[Document]:
    """Yield one document a line."""
    yield from _documents(jsonl_objects(path, options, path.name), path.name, options.text, options)


def holds_rows(path: Path, options: ReadOptions) -> bool:
    """Whether a file has a document a row, as its first row or its columns show.

    These are lines or a list of JSON with the text's key, and tables with the text's column;
    Parquet is nothing else. Others, such as logs, training sets and prices, are texts.
    """
    quiet = replace(options, on_note=lambda _: None)
    match _suffix(path):
        case ".parquet":
            return True
        case ".json":
            return _may_list(path, quiet) and _are_rows(_array(path, quiet), options)
        case suffix if suffix in TABLES:
            return has_column(path, quiet)
        case suffix if suffix in JSONL:
            return _are_rows([_first(path, quiet)], options)
    return False


def read_rows(path: Path, name: str, options: ReadOptions, taken: set[str]) -> Iterator[Document]:
    """Yield one document a row of such a file; each knows its file as others do.

    Args:
        path: The file.
        name: Its path in the folder.
        options: What to do about problems.
        taken: Ids that rows of the folder have already; a second one gets its place for an id.
    """
    facts: dict[str, Value] = {"path": name, "suffix": _suffix(path)}
    try:
        rows = _rows_of(path, name, options)
        if (first := next(rows, None)) is None:
            options.handle(Problem(name, "it holds no rows", read=True))
            return
        found = _documents(chain([first], rows), name, options.text, options, taken)
        for document in found:
            yield replace(document, metadata={**facts, **document.metadata})
    except InputError as error:
        if options.on_error == "fail":
            raise
        options.handle(Problem(name, error.what.rstrip(".")))


def _rows_of(path: Path, name: str, options: ReadOptions) -> Iterator[NumberedRow]:
    match _suffix(path):
        case ".parquet":
            yield from _parquet_rows(path, options)
        case ".json":
            yield from enumerate(_array(path, options), start=1)
        case suffix if suffix in TABLES:
            yield from csv_rows(path, options, name)
        case _:
            yield from jsonl_objects(path, options, name)


def _suffix(path: Path) -> str:
    inner = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return inner.suffix.lower()


def _are_rows(found: Sequence[Any], options: ReadOptions) -> bool:
    if not found or is_chat_message(found[0]):
        return False
    column = text_key(found[0], options.text)
    return all(isinstance(row, dict) and isinstance(row.get(column), str) for row in found)


def _first(path: Path, options: ReadOptions) -> Any:
    try:
        return decode_json(next(numbered_lines(path, options))[1])
    except (StopIteration, InputError, ValueError):
        return None


def _may_list(path: Path, options: ReadOptions) -> bool:
    """Tell it by the first line, before all of the file is read."""
    try:
        return next(numbered_lines(path, options))[1].lstrip().startswith(("[", "{"))
    except (StopIteration, InputError):
        return False


def _array(path: Path, options: ReadOptions) -> list[Any]:
    """Return the rows that a file of JSON holds; nothing if it holds none, or cannot be read."""
    try:
        with open_unpacked(path, min(options.max_bytes, options.max_unpacked_bytes)) as file:
            text = decode_text(file.read(), told=options.encoding).text
        found = decode_json(text)
    except (UnreadableFile, UndecodableText, ValueError):
        return []
    return rows_in(found, len(text), options.text)


def read_csv(path: Path, options: ReadOptions) -> Iterator[Document]:
    """Yield one document a row; the first row names the columns, and one is `text`."""
    yield from _documents(csv_rows(path, options), path.name, options.text, options)


def read_parquet(path: Path, options: ReadOptions) -> Iterator[Document]:
    """Yield one document a row; a column is `text`.

    Raises:
        InputError: It is no Parquet file, or damaged.
    """
    yield from _documents(_parquet_rows(path, options), path.name, options.text, options)


def _parquet_rows(path: Path, options: ReadOptions) -> Iterator[NumberedRow]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            check_column(text_key(dict.fromkeys(names, ""), options.text), names, str(path))
            batches = file.iter_batches(1000)
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{str(path)!r} is not a Parquet file: {reason}.", hint="Write it anew."
        ) from error


def read_hub(name: str, options: ReadOptions) -> Iterator[Document]:
    """Yield one document a row of `NAME[:SPLIT[:TEXT_COLUMN]]`, streamed.

    Raises:
        InputError: There is no such data set, split or column.
    """
    import datasets

    repository, _, rest = name.partition(":")
    split, _, column = rest.partition(":")
    column = column or options.text
    try:
        rows = datasets.load_dataset(repository, split=split or "train", streaming=True)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The data set {repository!r} cannot be loaded: {str(error).splitlines()[0]}",
            hint="Check its name, its split and the network.",
        ) from error
    check_column(column, rows.column_names or (), repository)
    yield from _documents(enumerate(rows, start=1), repository, column, options)


def check_column(column: str, columns: Iterable[object], place: str) -> None:
    """Make sure that a table has a column.

    Raises:
        InputError: It has not; the message says which it has.
    """
    known = list(map(str, columns))
    if column not in known:
        raise InputError(
            f"{place!r} has no column {column!r}, but {listed_columns(known)}.",
            hint="Rename the column that holds the text, or name it: text under [index.reading].",
        )


def _documents(
    rows: Iterable[NumberedRow],
    name: str,
    column: str,
    options: ReadOptions,
    taken: set[str] | None = None,
) -> Iterator[Document]:
    options = _saying_once(options)
    rows = iter(rows)
    head = list(islice(rows, _HEAD))
    if not head:
        return
    key = id_key([row for _, row in head])
    if key:
        options.note(name, f"its rows are known by their {key!r}")
        taken = set[str]() if taken is None else taken
    if column == options.text and (found := text_key(head[0][1], options.text)) != column:
        column = found
        options.note(
            name, f"its texts are read from {column!r} (another: text under [index.reading])"
        )
    for number, row in chain(head, rows):
        place = f"{name}:{number}"
        known = {**row, "_id": row[key]} if key in row else row
        try:
            yield _apart(_document(known, place, column, options), place, options, taken)
        except _BadRow as error:
            options.handle(Problem(place, str(error), read=True))
        except InputError as error:
            if options.on_error == "fail":
                raise
            options.handle(Problem(place, error.what.removeprefix(f"{place}: ").rstrip(".")))


def _saying_once(options: ReadOptions) -> ReadOptions:
    """Return options that say what holds for many rows of the first one alone."""
    told = set[str]()

    def say(note: Problem) -> None:
        if note.reason not in told:
            told.add(note.reason)
            options.on_note(note)

    return replace(options, on_note=say)


def _apart(
    document: Document, place: str, options: ReadOptions, taken: set[str] | None
) -> Document:
    """Give a row its place for an id where another row of the folder has its own id already."""
    if taken is None:
        return document
    if document.id in taken:
        options.note(place, f"its id {document.id!r} is another row's, and was not taken")
        document = replace(document, id=place)
    taken.add(document.id)
    return document


class _BadRow(ValueError):
    """A row gives no document; the message says why."""


def _document(row: Mapping[str, Any], place: str, column: str, options: ReadOptions) -> Document:
    text, title, facts = row.get(column), row.get("title"), row.get("metadata")
    if facts is None and isinstance(row.get("meta"), Mapping):
        facts = row["meta"]  # as Haystack writes documents
    if title is None and isinstance(facts, Mapping) and isinstance(facts.get("title"), str):
        title = facts["title"]  # as LangChain writes documents
    if column not in row:
        has = ", ".join(map(repr, list(row)[:_SAID]))
        raise _BadRow(f"it lacks {column!r}" + (f", and has {has}" if has else ""))
    if not isinstance(text, str | None):
        raise _BadRow(f"its {column!r} is {type(text).__name__}, not text")
    named = "" if title is None else clean_text(str(title))
    kept = clean_text(text or "")
    if kept.endswith(">") and (shown := shown_if_page(kept)):
        options.note(
            place, "its text, and that of other rows, is HTML, and read as a page shows it"
        )
        kept = shown
    if not kept.strip() and not named.strip():
        raise _BadRow(f"its {column!r} is empty")
    named_otherwise = {*_NAMED, column, *(["meta"] if facts is row.get("meta") else [])}
    extra = {key: value for key, value in row.items() if key not in named_otherwise}
    metadata = _facts(_without_copies(extra, place, options), place, options) | _facts(
        _object(facts), place, options
    )
    return Document(_id(row, place), kept if kept.strip() else named, named, metadata)


def _without_copies(facts: Mapping[str, Any], place: str, options: ReadOptions) -> dict[str, Any]:
    """Leave out vectors, and the text in another form: what crawlers and stores write beside it."""
    kept = dict(facts)
    for key, value in facts.items():
        if key in TEXTS and isinstance(value, str) and len(value) > _LONGEST_FACT:
            options.note(place, f"{key!r} is left out of this and other rows: too long a text")
            del kept[key]
        elif isinstance(value, list | tuple) and _is_vector(value):
            options.note(place, f"{key!r} is left out of this and other rows: a list of numbers")
            del kept[key]
    return kept


def _is_vector(values: Sequence[Any]) -> bool:
    return len(values) >= _MOST_NUMBERS and all(isinstance(one, int | float) for one in values)


def _facts(values: Any, place: str, options: ReadOptions) -> dict[str, Value]:
    """Return the metadata of a row; no value of it is worth the row where problems are skipped."""
    if options.on_error == "fail" or not isinstance(values, Mapping):
        return normalize_metadata(values, place, nested=options.nested)
    kept: dict[str, Value] = {}
    for key, value in values.items():
        try:
            kept |= normalize_metadata({key: value}, place, nested=options.nested)
        except InputError as error:
            why = "is an object" if is_nested(value) else "cannot be kept"
            hint = "nested under [index.reading]" if is_nested(value) else error.hint.rstrip(".")
            reason = f"metadata {short_repr(key)} {why}, and left out of this and other rows"
            options.note(place, f"{reason} ({hint})")
    return kept


def _object(values: Any) -> Any:
    """Return a row's `metadata`; an empty one, of a CSV file for example, is none."""
    return values or None


def _id(row: Mapping[str, Any], place: str) -> str:
    id = row.get("_id") if row.get("_id") is not None else row.get("id")
    if id is None or id == "":
        return place
    if isinstance(id, bool) or not isinstance(id, str | int | float):
        raise _BadRow(f"its id is {type(id).__name__}, neither text nor a number")
    if clean_text(str(id)) != str(id):
        raise _BadRow("its id holds NUL or a lone surrogate")
    return str(id)
