"""Files in, documents out, one at a time.

A source is a JSONL file, a folder of text files, or one text file. Knows nothing of chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from retrievers.errors import InputError
from retrievers.types import Document, Scalar

TEXT_SUFFIXES = frozenset({".txt", ".md", ".markdown", ".rst"})


def read_documents(source: str | Path) -> Iterator[Document]:
    """Yield the documents of a source, lazily.

    Args:
        source: A `.jsonl` file (one object a line: `_id` or `id`, `text`, and optionally `title`
            and `metadata`), a text file, or a folder searched for text files at any depth.

    Raises:
        InputError: The source does not exist, holds nothing, or a line or file is malformed.
    """
    path = Path(source)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise InputError(
            f"There are no documents at {str(path)!r}.",
            hint="Give a JSONL file, a text file or a folder of text files.",
        )
    return _jsonl(path) if path.suffix == ".jsonl" else iter([_text_file(path, path.name)])


def _folder(folder: Path) -> Iterator[Document]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in TEXT_SUFFIXES)
    if not files:
        raise InputError(
            f"The folder {str(folder)!r} holds no text files.",
            hint=f"Looked for {', '.join(sorted(TEXT_SUFFIXES))}.",
        )
    return (_text_file(path, path.relative_to(folder).as_posix()) for path in files)


def _text_file(path: Path, id: str) -> Document:
    try:
        return Document(id=id, text=path.read_text(encoding="utf-8"), title=path.stem)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"Cannot read {str(path)!r} as UTF-8 text: {error}.", hint="Convert or remove the file."
        ) from error


def _jsonl(path: Path) -> Iterator[Document]:
    with path.open(encoding="utf-8") as lines:
        number = 0
        for number, line in enumerate(lines, start=1):
            yield _record(line, f"{path}:{number}")
    if not number:
        raise InputError(f"{str(path)!r} is empty.", hint="Write one JSON object a line.")


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
    return Document(
        id=str(id),
        text=text,
        title=str(record.get("title") or ""),
        metadata=_metadata(record.get("metadata") or {}, place),
    )


def _metadata(values: object, place: str) -> dict[str, Scalar]:
    if not isinstance(values, dict):
        raise InputError(f"{place}: `metadata` is not a JSON object.")
    for key, value in values.items():
        if not isinstance(value, str | int | float | bool):
            raise InputError(
                f"{place}: metadata {key!r} is {value!r}, neither text, number nor boolean."
            )
    return dict(values)
