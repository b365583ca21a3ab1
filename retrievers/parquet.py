"""The rows of a vector store in Parquet, and back: ids, vectors, texts, metadata, identity.

Nothing is embedded. Metadata is JSON in a column, for every row may have other keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.metadata import TIME, has_unstorable_characters, normalize_metadata
from ragwright.retrievers.own_vectors import is_chunk_id
from ragwright.retrievers.stamp import Stamp, claim_store, noted_dimension
from ragwright.retrievers.stores.base import ROWS_PER_CALL, StoreURL, VectorStore, slices
from ragwright.retrievers.stores.opening import open_store
from ragwright.retrievers.types import Progress

NOTE = b"ragwright"
COLUMNS = ("id", "vector", "text", "metadata")
Page = tuple[list[str], Floats, list[str], list[dict[str, Any]]]
"""Ids, vectors, texts and metadata of some rows."""


@dataclass(frozen=True, slots=True)
class MovedRows:
    """Rows that went over.

    Attributes:
        store: The URL of the vector store.
        file: The Parquet file.
        rows: How many.
        dimension: Length of their vectors.
    """

    store: str
    file: str
    rows: int
    dimension: int


def index_store_url(index: str | Path) -> StoreURL:
    """Return where the vectors of an index lie.

    Raises:
        IndexFault: There is no index.
    """
    folder = Path(index).resolve()
    return Stamp.read(folder).store(folder)


def export_rows(place: StoreURL, file: Path, *, progress: Progress | None = None) -> MovedRows:
    """Write all rows of a store to a Parquet file, which is there whole or not at all.

    Raises:
        IndexFault: The store fails, or does not say what made its vectors.
        InputError: The file cannot be written.
    """
    import pyarrow
    from pyarrow import parquet

    partial = file.with_name(f"{file.name}.partial")
    with closing(open_store(place.beside(Path.cwd()), dimension=None)) as store:
        note = store.stamp()
        dimension = noted_dimension(note)
        if dimension is None:
            raise IndexFault(
                f"The vector store {str(place)!r} does not say what made its vectors.",
                hint="Only what `rag ingest` made can be exported.",
            )
        schema = _schema(pyarrow, dimension).with_metadata({NOTE: note.encode()})
        ids = sorted(store.ids())
        try:
            with parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
                for part in slices(len(ids)):
                    writer.write_table(_table(pyarrow, schema, store, ids[part]))
                    if progress:
                        progress(min(part.stop, len(ids)), len(ids))
            partial.replace(file)
        except OSError as error:
            raise InputError(f"Cannot write {str(file)!r}: {error.strerror or error}.") from error
    return MovedRows(str(place), str(file), len(ids), dimension)


def import_rows(file: Path, place: StoreURL, *, progress: Progress | None = None) -> MovedRows:
    """Make a collection hold the rows of a Parquet file; those that are there stay as they are.

    Raises:
        InputError: The file cannot be read, or is not of `export_rows`.
        IndexFault: The store fails, or holds another index's vectors.
    """
    note, dimension, total, pages = _opened(file)
    place = place.beside(Path.cwd())
    with closing(open_store(place, dimension=dimension, create=True)) as store:
        claim_store(store, place, note)
        done = 0
        for ids, vectors, texts, metadata in pages:
            store.upsert(ids, vectors, texts, metadata)
            done += len(ids)
            if progress:
                progress(done, total)
        store.set_stamp(note)
    return MovedRows(str(place), str(file), done, dimension)


def _schema(pyarrow: Any, dimension: int) -> Any:
    vector = pyarrow.list_(pyarrow.float32(), dimension)
    kinds = (pyarrow.string(), vector, pyarrow.string(), pyarrow.string())
    return pyarrow.schema(list(zip(COLUMNS, kinds, strict=True)))


def _table(pyarrow: Any, schema: Any, store: VectorStore, ids: Sequence[str]) -> Any:
    rows = store.fetch(ids)
    found = [id for id in ids if id in rows]
    columns = {
        "id": found,
        "vector": [rows[id].vector.astype(np.float32).tolist() for id in found],
        "text": [rows[id].text for id in found],
        "metadata": [json.dumps(rows[id].metadata, ensure_ascii=False) for id in found],
    }
    return pyarrow.table(columns, schema=schema)


def _opened(file: Path) -> tuple[str, int, int, Iterator[Page]]:
    """Return the note of a file's index, the vectors' length, and the rows: how many, by page."""
    import pyarrow
    from pyarrow import parquet

    if file.exists() and not file.is_file():  # a pipe would be waited for
        raise InputError(f"Cannot read {str(file)!r}: it is no file.", hint=_HINT)
    try:
        opened = parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error
    note = (opened.schema_arrow.metadata or {}).get(NOTE, b"").decode("utf-8", "replace")
    dimension = noted_dimension(note)
    if dimension is None or not set(COLUMNS) <= set(opened.schema_arrow.names):
        raise InputError(f"{str(file)!r} holds no rows of an index.", hint=_HINT)
    return note, dimension, opened.metadata.num_rows, _pages(opened, dimension, file)


def _unreadable(file: Path, error: Exception) -> InputError:
    reason = next(iter(str(error).splitlines()), "").rstrip(".")
    return InputError(f"Cannot read {str(file)!r}: {reason}.", hint=_HINT)


def _pages(opened: Any, dimension: int, file: Path) -> Iterator[Page]:
    """Yield what a store takes, page by page; what is damaged is found where it is unpacked."""
    import pyarrow

    batches = opened.iter_batches(ROWS_PER_CALL, columns=[*COLUMNS])
    while True:
        try:
            batch = next(batches, None)
            values = None if batch is None else batch.to_pydict()
        except (pyarrow.ArrowException, OSError) as error:
            raise _unreadable(file, error) from error
        if values is None:
            return
        try:
            yield _page(values, dimension, f"{str(file)!r}")
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{str(file)!r} holds a damaged row: {error}.", hint=_HINT) from error


def _page(values: Mapping[str, list[Any]], dimension: int, place: str) -> Page:
    """Check rows before a store sees them: what it would say of them is of the store.

    Raises:
        ValueError, TypeError, RecursionError: A row is damaged.
        InputError: Its metadata cannot be kept.
    """
    ids, texts = values["id"], values["text"]
    if not all(
        isinstance(text, str) and not has_unstorable_characters(text) for text in (*ids, *texts)
    ):
        raise ValueError("an id or a text is none")
    if len(set(ids)) < len(ids) or not all(map(is_chunk_id, ids)):
        raise ValueError("an id is not 32 hexadecimal digits, or stands there twice")
    vectors = np.array(values["vector"], dtype=np.float32)
    if vectors.shape != (len(ids), dimension) or not np.isfinite(vectors).all():
        raise ValueError(f"a vector has not {dimension} finite numbers")
    metadata = [json.loads(text) for text in values["metadata"]]
    for facts in metadata:
        if not isinstance(facts, dict):
            raise ValueError("its metadata is no table")
        for key, value in facts.items():
            normalize_metadata({key.removesuffix(TIME): value}, place)
    return ids, vectors, texts, metadata


_HINT = "Give a file that `rag index export` wrote."
