"""Checks arguments of public functions: each is of the expected kind, or an error says so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from ragwright.retrievers.errors import InputError

_URL = re.compile(r"(chroma|qdrant|weaviate)(\+https?)?:")


def check_type(name: str, value: object, *kinds: type, none: bool = False) -> None:
    """Make sure that an argument is of one of these classes.

    Args:
        name: What the argument is called.
        value: What was given.
        kinds: What it may be.
        none: Whether it may be None too.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, kinds) or (none and value is None):
        return
    raise _other(name, value, " or ".join(kind.__name__ for kind in kinds))


def check_path(name: str, value: object) -> None:
    """Make sure that an argument is a path.

    Raises:
        InputError: It is something else, or no path of a file system can be written so.
    """
    if not isinstance(value, str | os.PathLike) or "\0" in str(value) or not str(value):
        raise _other(name, value, "a path")


def check_callable(name: str, value: object, *, none: bool = False) -> None:
    """Make sure that an argument can be called.

    Raises:
        InputError: It cannot.
    """
    if not callable(value) and not (none and value is None):
        raise _other(name, value, "a function")


def check_list(name: str, value: object) -> None:
    """Make sure that an argument is a list or the like, and no text.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | dict):
        raise _other(name, value, "a list")


def short_repr(value: object, most: int = 80) -> str:
    """Return a value as an error message shows it: in one line, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of 4,300 digits, a list in a list in ...
        text = f"{type(value).__name__} that is too long to be shown"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _other(name: str, value: object, wanted: str) -> InputError:
    said = short_repr(value, 1000)
    said = said if len(said) < 60 else type(value).__name__
    hint = f"Make one: {value.__name__}(...)." if isinstance(value, type) else "Give it as that."
    return InputError(f"`{name}` is {said}, but must be {wanted}.", hint=hint)


def folder_as_text(path: object) -> str:
    """Return the folder of an index as text.

    Raises:
        InputError: It is a collection, or the URL of one, which has no index yet.
    """
    if isinstance(path, str | os.PathLike):
        text = os.fspath(path)
        if isinstance(text, str) and text and "\0" not in text and not _URL.match(text):
            return text
    raise InputError(
        f"{path!r} is not the folder of an index.",
        hint="An index on a collection that is there already is made by "
        "ChromaRetriever.attach(COLLECTION) or `rag index attach`; another by `rag ingest`.",
    )
