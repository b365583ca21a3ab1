"""The rows of a vector store in Parquet, and back: ids, vectors, texts, metadata, identity.

Nothing is embedded. Metadata is JSON in a column, for every row may have other keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.stamp import Stamp, unfinished
from ragwright.retrievers.stores.base import ROWS_PER_CALL, StoreURL, VectorStore, slices
from ragwright.retrievers.stores.opening import open_store
from ragwright.retrievers.types import Progress

NOTE = b"ragwright"
COLUMNS = ("id", "vector", "text", "metadata")


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


def store_of(index: str | Path) -> StoreURL:
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
        if not note:
            raise IndexFault(
                f"The vector store {str(place)!r} does not say what made its vectors.",
                hint="Only what `rag ingest` made can be exported.",
            )
        dimension = int(json.loads(note)["dimension"])
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
    note, total, pages = _opened(file)
    dimension = int(json.loads(note)["dimension"])
    with closing(
        open_store(place.beside(Path.cwd()), dimension=dimension, create=True)
    ) as store:  # fmt: skip
        if store.stamp() not in {"", note, unfinished(note)}:
            raise IndexFault(
                f"The vector store {str(place)!r} holds another index's vectors.",
                hint="Choose another collection: append #NAME to its URL.",
            )
        store.set_stamp(unfinished(note))
        done = 0
        for page in pages:
            store.upsert(*_columns(page, dimension, file))
            done += page.num_rows
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


def _opened(file: Path) -> tuple[str, int, Iterator[Any]]:
    """Return the note of a file's index, its number of rows, and the rows, page by page."""
    import pyarrow
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise InputError(f"Cannot read {str(file)!r}: {reason}.", hint=_HINT) from error
    note = (opened.schema_arrow.metadata or {}).get(NOTE, b"").decode("utf-8", "replace")
    if not set(COLUMNS) <= set(opened.schema_arrow.names) or not _says_dimension(note):
        raise InputError(f"{str(file)!r} holds no rows of an index.", hint=_HINT)
    return note, opened.metadata.num_rows, opened.iter_batches(ROWS_PER_CALL, columns=[*COLUMNS])


def _says_dimension(note: str) -> bool:
    try:
        said = json.loads(note)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and isinstance(said.get("dimension"), int)


def _columns(page: Any, dimension: int, file: Path) -> tuple[Any, Any, Any, Any]:
    values = page.to_pydict()
    try:
        vectors = np.array(values["vector"], dtype=np.float32).reshape(-1, dimension)
        metadata = [json.loads(text) for text in values["metadata"]]
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{str(file)!r} holds a damaged row: {error}.", hint=_HINT) from error
    return values["id"], vectors, values["text"], metadata


_HINT = "Give a file that `rag index export` wrote."
