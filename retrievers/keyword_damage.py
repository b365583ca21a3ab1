"""Translates what tantivy raises into errors that name the keyword index and what helps.

Cut or overwritten files come to light as `ValueError`, as a panic of the Rust library, or not at
all: for the last there are checksums (`sums.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar, cast

from ragwright.retrievers.errors import DamagedStore
from ragwright.retrievers.panics import RustPanic, translate_panics

P = ParamSpec("P")
T = TypeVar("T")


class InFolder(Protocol):
    """Something that reads a keyword index."""

    _folder: Path


def damaged_keyword_index(folder: Path, reason: str) -> DamagedStore:
    """The error for a keyword index that cannot be read."""
    return DamagedStore(
        f"The keyword index {str(folder)!r} is damaged: {reason}.",
        hint="Run `rag index repair` or `rag ingest`: both write it anew.",
    )


@contextmanager
def translate_keyword_errors(folder: Path) -> Iterator[None]:
    """Turn what tantivy raises while it reads into an error that says what to do.

    Raises:
        DamagedStore: A file is missing or damaged.
    """
    try:
        with translate_panics():
            yield
    except (ValueError, OSError, RustPanic) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise damaged_keyword_index(folder, reason) from error


def translates_read_errors(method: Callable[P, T]) -> Callable[P, T]:
    """Let a method of a keyword index raise `DamagedStore` where tantivy fails."""

    @wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        index = cast(InFolder, args[0])
        with translate_keyword_errors(index._folder):
            return method(*args, **kwargs)

    return guarded
