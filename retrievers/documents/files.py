"""Files in, one document each; a file that gives no text is a problem, never silently left out.

A document knows its path and suffix, not when it was changed: a file that was only touched is the
same document.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

from ragwright.retrievers.documents.convert import (
    CONVERTED,
    HTML,
    NeedsExtra,
    Unreadable,
    convert,
    html_text,
)
from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Document

IGNORE_FILES = (".gitignore", ".ragignore")
_HEADING = re.compile(r"^#{1,2}\s+(.+?)\s*#*\s*$", re.MULTILINE)
_MARKDOWN = frozenset({".md", ".markdown"})


def read_folder(folder: Path, options: ReadOptions) -> Iterator[Document]:
    """Yield the documents of a folder, at any depth, in the order of their paths.

    Hidden files, and what `.gitignore` and `.ragignore` files leave out, are not looked at.

    Raises:
        InputError: No file is left, or one cannot be read and is not to be skipped.
    """
    include = GitIgnoreSpec.from_lines(options.include or ("*",))
    exclude = GitIgnoreSpec.from_lines(options.exclude)
    found = False
    for path in _files(folder, folder, ()):
        name = path.relative_to(folder).as_posix()
        if include.match_file(name) and not exclude.match_file(name):
            found = True
            if document := read_file(path, name, options):
                yield document
    if not found:
        raise InputError(
            f"The folder {str(folder)!r} holds no files to read.",
            hint="Hidden and ignored files are left out; check --include and --exclude.",
        )


def read_file(path: Path, id: str, options: ReadOptions) -> Document | None:
    """Return the document of a file; None if it has none and problems are skipped.

    Raises:
        InputError: It cannot be read and is not to be skipped.
        NeedsExtra: It needs a converter that is not installed.
    """
    suffix = path.suffix.lower()
    try:
        title, text = _text(path, suffix, options.max_bytes)
    except Unreadable as error:
        options.handle(Problem(id, str(error)))
        return None
    return Document(id, text, title, {"path": id, "suffix": suffix})


def _files(
    folder: Path, root: Path, ignored: tuple[tuple[Path, GitIgnoreSpec], ...]
) -> Iterator[Path]:
    for name in IGNORE_FILES:
        if (folder / name).is_file():
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
            ignored = (*ignored, (folder, GitIgnoreSpec.from_lines(lines)))
    for path in sorted(folder.iterdir()):
        inside = "/" if path.is_dir() else ""
        hidden = path.name.startswith(".") or any(
            spec.match_file(path.relative_to(base).as_posix() + inside) for base, spec in ignored
        )
        if hidden:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, root, ignored)
        elif path.is_file():
            yield path


def _text(path: Path, suffix: str, max_bytes: int) -> tuple[str, str]:
    """Return title and text of a file."""
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise Unreadable(f"it has {size:,} bytes, more than {max_bytes:,}")
        title, text = _of_kind(path, suffix)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
    if not text.strip():
        raise Unreadable("it holds no text")
    return title or path.stem, text


def _of_kind(path: Path, suffix: str) -> tuple[str, str]:
    if suffix in CONVERTED:
        return convert(path)
    text = _decoded(path.read_bytes())
    if suffix in HTML:
        return html_text(text)
    heading = _HEADING.search(text) if suffix in _MARKDOWN else None
    return heading[1] if heading else "", text


def _decoded(data: bytes) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not wide and b"\0" in data:
        raise Unreadable("it is binary")
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is not UTF-8 text (byte {error.start})") from error


__all__ = ["NeedsExtra", "read_file", "read_folder"]
