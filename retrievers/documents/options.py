"""What to read of a source, and what to do about a file that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ragwright.retrievers.errors import InputError
from ragwright.retrievers.metadata import Nested

MAX_BYTES = 50_000_000
MAX_UNPACKED_BYTES = 500_000_000
MAX_SECONDS = 60.0

ColumnType = Literal["text", "number", "boolean"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A file or row that gave no document, or not all it holds, and why.

    Attributes:
        place: Its path or id.
        reason: Why.
        read: Whether it was read and holds nothing for an index. What could not be read may hold
            what it held before: an ingest leaves that where it is.
    """

    place: str
    reason: str
    read: bool = False


def check_encoding(name: str) -> None:
    """Make sure that an encoding of text has this name.

    Raises:
        InputError: None has.
    """
    try:
        "".encode(name)
    except (LookupError, ValueError) as error:
        raise InputError(
            f"There is no encoding {name!r}.", hint='Such as "koi8-r", "cp1251", "big5".'
        ) from error


def _nowhere(_: Problem) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        include: Patterns as in a `.gitignore` file; of a folder only what they match is read.
        exclude: Patterns of files not to read.
        on_error: "fail" raises at the first file or row that cannot be read, "skip" goes on.
        on_problem: Told of every file or row that is skipped.
        on_note: Told of what was read with a reservation: in an encoding that was guessed, without
            the pages that hold no text, without what a link leads to.
        max_bytes: A larger file is a problem.
        max_unpacked_bytes: So is a packed one, or an office file, that unpacks to more.
        max_seconds: And one that takes more of the processor's time to convert.
        follow_links: Whether to follow links that lead out of the folder.
        nested: What becomes of objects in a row's metadata.
        types: Kinds of the columns of a CSV file, by name; the others are told by their cells.
        encoding: Of text that is not UTF-8, has no byte order mark and declares nothing; "" to have
            it guessed.
        text: The column, or the key, of a row that holds its text.

    Raises:
        InputError: The encoding is unknown.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    on_error: Literal["fail", "skip"] = "fail"
    on_problem: Callable[[Problem], None] = field(default=_nowhere, compare=False)
    on_note: Callable[[Problem], None] = field(default=_nowhere, compare=False)
    max_bytes: int = MAX_BYTES
    max_unpacked_bytes: int = MAX_UNPACKED_BYTES
    max_seconds: float = MAX_SECONDS
    follow_links: bool = False
    nested: Nested = "refuse"
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    encoding: str = ""
    text: str = "text"

    def __post_init__(self) -> None:
        if self.encoding:
            check_encoding(self.encoding)

    def handle(self, problem: Problem) -> None:
        """Raise a problem, or report it and return.

        Raises:
            InputError: Problems are not to be skipped.
        """
        if self.on_error == "fail":
            raise InputError(
                f"Cannot read {problem.place!r}: {problem.reason}.",
                hint="Convert, exclude or remove it, or go on without it: --on-error skip",
            )
        self.on_problem(problem)

    def note(self, place: str, reason: str) -> None:
        """Report what was read with a reservation."""
        self.on_note(Problem(place, reason))
