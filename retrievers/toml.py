"""Reads a TOML file, however an editor saved it."""

from __future__ import annotations

import codecs
import re
import tomllib
from pathlib import Path
from typing import Any

from ragwright.retrievers.bounded_read import read_bounded
from ragwright.retrievers.errors import InputError

_ESCAPED = "Unescaped '\\'", "hex value", "Invalid initial character for a key part"
_BROKEN = re.compile(rb"=[ \t]*\{[^}\n]*\n")
"""A table in braces that goes on in the next line, as in JSON and in later versions of TOML."""
_DEEP = re.compile(r"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){30}""")
"""So many parts of a key in a row: each is a table in a table, and reading takes their square."""


def read_toml(file: Path) -> dict[str, Any]:
    """Return what a TOML file says. Editors on Windows put a mark before UTF-8, or write UTF-16.

    Raises:
        InputError: It cannot be read, or is not TOML.
    """
    try:
        data = read_bounded(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{str(file)!r} cannot be read: {reason}.",
            hint="Give the path of a TOML file.",
        ) from error
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return parse_toml(data.decode("utf-16" if wide else "utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{str(file)!r} is not TOML: {error}.", hint=_hint(data, error)) from error


def _hint(data: bytes, error: ValueError) -> str:
    """Say what to do about what is often written in the place of TOML."""
    if b"\\" in data and any(part in str(error) for part in _ESCAPED):
        return "Write paths with /, or between single quotes: 'C:\\docs'."
    if _BROKEN.search(data):
        return "A table between { and } stands on one line: or write its keys below [its.name]."
    if "Invalid value" in str(error):
        return 'Texts stand in quotes, such as name = "handbook"; true and false in small letters.'
    return ""


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a text says.

    Raises:
        ValueError: It is not TOML, or nests too deep for whoever reads the table.
    """
    if _DEEP.search(text):
        raise ValueError("a key has more than 30 parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
