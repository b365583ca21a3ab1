"""The error tree: every error that ragwright raises on purpose.

    RagError                 the root; `rag` prints it as one line and exits with code 2
    ├── InputError           what the user handed in is wrong: a file, a line, a question, a number
    │   └── RecipeError      the recipe has an unknown key, a wrong type or a value out of range
    ├── IndexFault           the index is missing, damaged, locked or of another format
    │   ├── IdentityError    the index was made by another embedder or chunker
    │   └── DamagedStore     the vector store or the keyword index cannot read its own files
    ├── ModelError           a model (embedder, cross-encoder, language model) cannot be had
    ├── StageError           a stage of a program failed, and no fallback was left
    ├── RecordFault          a side record (feedback, a trace) cannot be kept; no answer needs it
    ├── ClusterError         a Ray cluster cannot be reached, or loses its workers
    ├── MissingExtra         a package is not installed, which an extra of ragwright brings
    ├── ArtifactError        an artifact is damaged, of another format, or tied to another index
    └── CompileError         the compile cannot start or go on: too few examples, a wrong optimizer

A message says what happened (with the value), what was expected, and what to do.
"""

from __future__ import annotations

import os
from pathlib import Path

PAGE = "https://ragwright.readthedocs.io/errors/"
"""Where every kind of error, and every code of the server's, has a place of its own."""
_LONGEST, _LONGEST_PATH = 255, 4096
"""Bytes of a name, and of a whole path, that file systems take."""
_SHOWN = 200
_MOST_SAID = 4000
"""Signs of a message: whatever somebody wrote into a file, a terminal or a log is not flooded."""


class RagError(Exception):
    """The root of all errors raised on purpose.

    Args:
        what: What happened, with the offending value.
        hint: What to do about it; shown after the message.
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        said = what if len(what) <= _MOST_SAID else f"{what[:_MOST_SAID]}..."
        self.what = as_sentence(said) if hint else said
        self.hint = hint
        super().__init__(f"{self.what} {hint}".strip() if hint else self.what)

    @property
    def page(self) -> str:
        """Where the documentation says more of this kind of error."""
        known = next(kind for kind in type(self).__mro__ if kind.__module__ == __name__)
        return f"{PAGE}#{known.__name__.lower()}"


def as_sentence(said: str) -> str:
    """Return what was said, often by others, with the full stop that the next sentence needs."""
    return said if not said or said[-1] in ".!?…:;,\n" else f"{said}."


class InputError(RagError):
    """Something handed in by the user is wrong: a path, a line of a file, a number."""


def as_path(given: object) -> Path:
    """Return what is given as a path.

    Raises:
        InputError: It is no path.
    """
    if isinstance(given, str | os.PathLike) and _can_exist(text := os.fspath(given)):
        return Path(text)
    said = repr(given)
    said = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."
    raise InputError(f"{said} is not a path.", hint="Give the path of a file or a folder.")


def _can_exist(text: str | bytes) -> bool:
    """Whether a file system takes a path at all; others than these it may refuse as not there."""
    try:
        whole = os.fsencode(text)
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    parts = whole.split(os.fsencode(os.sep))
    return b"\0" not in whole and len(whole) < _LONGEST_PATH and max(map(len, parts)) <= _LONGEST


class RecipeError(InputError):
    """A recipe has an unknown key, a wrong type or a value out of range."""


class IndexFault(RagError):
    """An index is missing, damaged, locked by another process or of another format."""


class IdentityError(IndexFault):
    """An index was made with another embedder or chunker than the one asked for."""


class DamagedStore(IndexFault):
    """A vector store or a keyword index cannot read its own files, and will not by itself."""


class ModelError(RagError):
    """A model cannot be loaded or reached: an embedder, a cross-encoder, a language model."""


class MissingExtra(RagError):
    """A package that an extra of the installation brings is not there."""


class ClusterError(RagError):
    """A Ray cluster cannot be reached or started, or loses its workers again and again."""


class StageError(RagError):
    """A stage of a program failed, took too long, or is left alone after failing before."""


class RecordFault(RagError):
    """A side record cannot be kept: feedback, a trace. Nothing that answers depends on one."""


class ArtifactError(RagError):
    """An artifact is damaged, of another format, or tied to another index."""


class CompileError(RagError):
    """A compile cannot start or go on."""
