"""The kinds of sources, told apart by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ragwright.retrievers.documents.archives import is_archive
from ragwright.retrievers.documents.files import FolderDocuments, read_file, text_document
from ragwright.retrievers.documents.opening import PACKED
from ragwright.retrievers.documents.options import ReadOptions
from ragwright.retrievers.documents.rows import read_csv, read_hub, read_jsonl, read_parquet
from ragwright.retrievers.documents.source import SourceDocuments
from ragwright.retrievers.errors import InputError, as_path
from ragwright.retrievers.metadata import clean_text
from ragwright.retrievers.types import Document

HUB = "hub:"
STDIN = "-"
_TABLES = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}


def read_documents(source: str | Path, options: ReadOptions | None = None) -> Iterator[Document]:
    """Yield the documents of a source, lazily.

    Args:
        source: A folder, searched at any depth; a `.jsonl`, `.csv`, `.tsv` or `.parquet` file, or
            `.json` (an array, or what else holds rows), of rows with `text` and optionally `_id`
            or `id`, `title` and more, packed (`.gz`, `.bz2`, `.xz`, `.zst`) or not; a
            mailbox (`.mbox`); an archive (`.zip`, `.tar`, `.tar.gz`), read as the folder that it
            holds; any other file, which is one document;
            `hub:NAME[:SPLIT[:TEXT_COLUMN]]`, a data set of the Hugging Face hub;
            or `-`, one document from standard input.
        options: What to read of it, and what to do about what cannot be read.

    Raises:
        InputError: The source does not exist or holds nothing, or a part of it cannot be read.
    """
    chosen = options or ReadOptions()
    if str(source) == STDIN:
        return _standard_input(chosen)
    if str(source).startswith(HUB):
        return read_hub(str(source).removeprefix(HUB), chosen)
    path = as_path(source)
    if path.is_dir():
        return FolderDocuments(path, chosen)
    if not str(source) or not path.is_file():
        raise InputError(
            f"There are no documents at {str(path)!r}.",
            hint="Give a folder, a file, hub:NAME, or - for standard input.",
        )
    reader = _table_reader(path) or read_file
    return SourceDocuments(chosen, lambda told: reader(path, told))


def is_folder(source: str | Path) -> bool:
    """Tell whether a source is a folder, or an archive of one, of which not all may be meant."""
    named = str(source)
    if named == STDIN or named.startswith(HUB):
        return False
    return Path(source).is_dir() or is_archive(Path(source))


def _table_reader(path: Path) -> Callable[[Path, ReadOptions], Iterator[Document]] | None:
    suffix = path.suffix.lower()
    if suffix in PACKED:
        inner = path.with_suffix("").suffix.lower()
        return None if inner == ".parquet" else _TABLES.get(inner)
    return _TABLES.get(suffix)


def _standard_input(options: ReadOptions) -> Iterator[Document]:
    """Read bytes, of whatever encoding; a stream of text, as in a test, is what it is."""
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None:
        yield Document("stdin", clean_text(sys.stdin.read()))
        return
    data = buffer.read(options.max_bytes + 1)
    if len(data) > options.max_bytes:
        raise InputError(
            f"Standard input has more than {options.max_bytes:,} bytes.", hint="Give a file."
        )
    yield text_document(data, "stdin", options)
