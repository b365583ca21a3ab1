"""Reads JSON objects: one a line, in any Unicode encoding, packed or not."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragwright.retrievers.documents.decoding import MARKED, UndecodableText, detect_encoding
from ragwright.retrievers.documents.opening import UnreadableFile, open_unpacked
from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.metadata import has_unstorable_characters

_SAMPLE = 1 << 20
_ROWS = re.compile(r"""\s*(?:\{\s*["}]|\[\s*[\[\]{"\d-])""")
"""How objects and arrays begin."""


def decode_json(text: str) -> Any:
    """Return what a JSON text says.

    Raises:
        ValueError: It is not JSON, or nested too deeply; the message says where.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:  # a number of more digits than Python reads
        raise ValueError(f"it is not JSON that can be read: {error}") from error


def numbered_lines(path: Path, options: ReadOptions) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that are not blank, numbered from 1; `\\r` ends one too.

    Raises:
        InputError: It cannot be opened, or is damaged.
    """
    try:
        with open_unpacked(path, options.max_unpacked_bytes) as file:
            encoding, guessed = _encoding(read_file_start(file), options.encoding)
            if guessed:
                options.note(path.name, f"it is not UTF-8, and was read as {encoding}")
            # A file of wide characters that is cut off ends within one.
            wide = encoding.startswith(("utf-16", "utf-32"))
            errors = "replace" if wide else "surrogateescape"
            with io.TextIOWrapper(file, encoding, errors=errors) as text:
                yield from (
                    (number, line.rstrip("\n"))
                    for number, line in enumerate(text, start=1)
                    if line.strip()
                )
    except (UnreadableFile, UnicodeError) as error:
        raise InputError(f"Cannot read {str(path)!r}: {error}.", hint="Write it anew.") from error


def _encoding(start: bytes, told: str) -> tuple[str, bool]:
    """Return the encoding; where it cannot be told, the lines that are UTF-8 are read as such.

    Text of wide characters without a mark begins as rows do; else a zero is one line's fault.
    """
    try:
        encoding, guessed = detect_encoding(start, told=told)
    except UndecodableText:
        return "utf-8", False
    unmarked = b"\0" in start and not start.startswith(MARKED)
    if unmarked and not _ROWS.match(start.decode(encoding, "replace")):
        return "utf-8", False
    return encoding, guessed


def jsonl_objects(
    path: Path, options: ReadOptions, name: str = ""
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the object on each line with its number; a line that holds none is a problem.

    Args:
        path: The file.
        options: What to do about problems.
        name: What to call the file there, if not by its path.

    Raises:
        InputError: The file cannot be read or is empty, or a line is none and not to be skipped.
    """
    number, first = 0, True
    for number, line in numbered_lines(path, options):
        place = f"{name or path}:{number}"
        if any("\udc80" <= char <= "\udcff" for char in line) and has_unstorable_characters(line):
            options.handle(Problem(place, "it is not UTF-8"))
            continue
        try:
            record = decode_json(line)
        except ValueError as error:
            options.handle(Problem(place, f"{error}{_form(line) if first else ''}"))
            continue
        finally:
            first = False
        if isinstance(record, dict):
            yield number, record
        else:
            options.handle(Problem(place, "it is not a JSON object"))
    if not number:
        raise InputError(f"{str(path)!r} is empty.", hint="Write one JSON object a line.")


def _form(line: str) -> str:
    """Say how to bring a file to one object a line whose first line shows that it is none such."""
    if line.strip() in {"[", "{"} or line.lstrip().startswith("[{"):
        query = "." if line.lstrip().startswith("{") else "'.[]'"
        return f"; one object a line is wanted, as jq -c {query} FILE writes it"
    return ""


def read_file_start(file: Any) -> bytes:
    """Return a small file, or whole lines from the start of one; the file stays where it is."""
    sample: bytes = file.peek(_SAMPLE)[:_SAMPLE]
    if b"\0" in sample:
        return sample[: len(sample) & ~3]
    end = max(sample.rfind(b"\n"), sample.rfind(b"\r")) + 1
    return sample[:end] if end and len(sample) == _SAMPLE else sample
