"""The kinds of sources, told apart by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ragwright.retrievers.documents.files import read_file, read_folder
from ragwright.retrievers.documents.options import ReadOptions
from ragwright.retrievers.documents.rows import read_csv, read_hub, read_jsonl, read_parquet
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Document

HUB = "hub:"
STDIN = "-"
_TABLES = {".jsonl": read_jsonl, ".csv": read_csv, ".parquet": read_parquet}


def read_documents(source: str | Path, options: ReadOptions | None = None) -> Iterator[Document]:
    """Yield the documents of a source, lazily.

    Args:
        source: A folder, searched at any depth; a `.jsonl`, `.csv` or `.parquet` file of rows
            with `text` and optionally `_id` or `id`, `title` and more; any other file, which is
            one document; `hub:NAME[:SPLIT[:TEXT_COLUMN]]`, a data set of the Hugging Face hub;
            or `-`, one document from standard input.
        options: What to read of it, and what to do about what cannot be read.

    Raises:
        InputError: The source does not exist or holds nothing, or a part of it cannot be read.
    """
    chosen = options or ReadOptions()
    if str(source) == STDIN:
        return iter([Document("stdin", sys.stdin.read())])
    if str(source).startswith(HUB):
        return read_hub(str(source).removeprefix(HUB), chosen)
    path = Path(source)
    if path.is_dir():
        return read_folder(path, chosen)
    if not path.is_file():
        raise InputError(
            f"There are no documents at {str(path)!r}.",
            hint="Give a folder, a file, hub:NAME, or - for standard input.",
        )
    if reader := _TABLES.get(path.suffix.lower()):
        return reader(path, chosen)
    return iter([found for found in (read_file(path, path.name, chosen),) if found])
